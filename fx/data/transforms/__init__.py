"""torchvision's transforms on whole batches: pure, compiled, with a key.

A transform is a hashable description, called `transform(images, key=None)` inside of a compiled
step; a random one draws anew for each image. `MixUp`, `CutMix` and `WithTargets` change the targets
too. `functional` has the pure functions underneath.
"""

from fx.data.transforms import functional as functional
from fx.data.transforms.auto import AugMix as AugMix
from fx.data.transforms.auto import AutoAugment as AutoAugment
from fx.data.transforms.auto import RandAugment as RandAugment
from fx.data.transforms.auto import TrivialAugmentWide as TrivialAugmentWide
from fx.data.transforms.colour import ColorJitter as ColorJitter
from fx.data.transforms.colour import GaussianBlur as GaussianBlur
from fx.data.transforms.colour import RandomErasing as RandomErasing
from fx.data.transforms.colour import RandomGrayscale as RandomGrayscale
from fx.data.transforms.compose import Compose as Compose
from fx.data.transforms.compose import RandomApply as RandomApply
from fx.data.transforms.convert import CenterCrop as CenterCrop
from fx.data.transforms.convert import Grayscale as Grayscale
from fx.data.transforms.convert import Normalize as Normalize
from fx.data.transforms.convert import Resize as Resize
from fx.data.transforms.convert import ToTensor as ToTensor
from fx.data.transforms.geometry import RandomAffine as RandomAffine
from fx.data.transforms.geometry import RandomCrop as RandomCrop
from fx.data.transforms.geometry import RandomHorizontalFlip as RandomHorizontalFlip
from fx.data.transforms.geometry import RandomPerspective as RandomPerspective
from fx.data.transforms.geometry import RandomResizedCrop as RandomResizedCrop
from fx.data.transforms.geometry import RandomRotation as RandomRotation
from fx.data.transforms.geometry import RandomVerticalFlip as RandomVerticalFlip
from fx.data.transforms.mixing import CutMix as CutMix
from fx.data.transforms.mixing import MixUp as MixUp
from fx.data.transforms.mixing import WithTargets as WithTargets
from fx.data.transforms.toning import RandomAdjustSharpness as RandomAdjustSharpness
from fx.data.transforms.toning import RandomAutocontrast as RandomAutocontrast
from fx.data.transforms.toning import RandomEqualize as RandomEqualize
from fx.data.transforms.toning import RandomInvert as RandomInvert
from fx.data.transforms.toning import RandomPosterize as RandomPosterize
from fx.data.transforms.toning import RandomSolarize as RandomSolarize
