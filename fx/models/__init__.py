"""Networks that ship, one file each; published weights load into them by name."""

from fx.models.bert import BertModel as BertModel
from fx.models.bert_heads import BertForMaskedLM as BertForMaskedLM
from fx.models.bert_heads import BertForSequenceClassification as BertForSequenceClassification
from fx.models.bert_heads import BertForTokenClassification as BertForTokenClassification
from fx.models.convnet import ConvNet as ConvNet
from fx.models.generation import decode as decode
from fx.models.generation import filter_logits as filter_logits
from fx.models.generation import generate as generate
from fx.models.generation import left_pad as left_pad
from fx.models.generation import prefill as prefill
from fx.models.generation import sample as sample
from fx.models.gpt2 import GPT2 as GPT2
from fx.models.gpt2 import GPT2Model as GPT2Model
from fx.models.resnet import BasicBlock as BasicBlock
from fx.models.resnet import Bottleneck as Bottleneck
from fx.models.resnet import ResNet as ResNet
from fx.models.resnet import resnet18 as resnet18
from fx.models.resnet import resnet34 as resnet34
from fx.models.resnet import resnet50 as resnet50
from fx.models.vit import VisionTransformer as VisionTransformer
from fx.models.vit import interpolate_embeddings as interpolate_embeddings
from fx.models.vit import vit_b_16 as vit_b_16
from fx.models.vit import vit_s_16 as vit_s_16
