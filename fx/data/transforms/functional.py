"""What the transforms do, as pure functions of images and amounts.

Images are float `[N, C, H, W]` in [0, 1]; an amount is a number for all of them or an array `[N]`
with one for each. The names and formulas are those of `torchvision.transforms.functional` on
tensors, which takes one image or one amount at a time.
"""

from fx.data.transforms.checks import check_images as check_images
from fx.data.transforms.checks import need_key as need_key
from fx.data.transforms.pixels import adjust_brightness as adjust_brightness
from fx.data.transforms.pixels import adjust_contrast as adjust_contrast
from fx.data.transforms.pixels import adjust_hue as adjust_hue
from fx.data.transforms.pixels import adjust_saturation as adjust_saturation
from fx.data.transforms.pixels import erase as erase
from fx.data.transforms.pixels import gaussian_blur as gaussian_blur
from fx.data.transforms.pixels import jitter_color as jitter_color
from fx.data.transforms.pixels import normalize as normalize
from fx.data.transforms.pixels import rgb_to_grayscale as rgb_to_grayscale
from fx.data.transforms.tones import adjust_sharpness as adjust_sharpness
from fx.data.transforms.tones import autocontrast as autocontrast
from fx.data.transforms.tones import equalize as equalize
from fx.data.transforms.tones import invert as invert
from fx.data.transforms.tones import posterize as posterize
from fx.data.transforms.tones import solarize as solarize
from fx.data.transforms.warp import affine as affine
from fx.data.transforms.warp import center_crop as center_crop
from fx.data.transforms.warp import crop as crop
from fx.data.transforms.warp import hflip as hflip
from fx.data.transforms.warp import perspective as perspective
from fx.data.transforms.warp import resize as resize
from fx.data.transforms.warp import resized_crop as resized_crop
from fx.data.transforms.warp import rotate as rotate
from fx.data.transforms.warp import vflip as vflip
