"""BERT with a head: words that are masked, and classes of sequences."""

from typing import Any

import jax

from fx import nn
from fx.models.bert import BertModel, Dense, Pretrained, initial


class Transform(Dense):
    """A layer, an activation and a normalisation, before words are predicted."""

    def __init__(self, hidden_size: int, activation: str, eps: float):
        super().__init__(hidden_size, hidden_size, activation)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps)

    def forward(self, x: Any) -> Any:
        """[..., hidden_size] in, the same out."""
        return self.LayerNorm(super().forward(x))


class Predictions(nn.Module):
    """Logits of words; the decoder's bias is listed under two names, as Hugging Face has it."""

    def __init__(self, transform: Transform, hidden_size: int, vocab_size: int):
        self.bias = nn.Parameter((vocab_size,), nn.init.zeros)
        self.transform = transform
        self.decoder = nn.init.by_type(
            nn.Linear(hidden_size, vocab_size), {nn.Linear: {"bias": nn.init.zeros}}
        )
        nn.tie(self, "decoder.bias", "bias")

    def forward(self, x: Any) -> Any:
        """[N, T, hidden_size] in; [N, T, vocab_size] out."""
        return self.decoder(self.transform(x))


class Head(nn.Module):
    """What Hugging Face calls `cls`."""

    def __init__(self, predictions: Predictions):
        self.predictions = predictions

    def forward(self, x: Any) -> Any:
        """[N, T, hidden_size] in; [N, T, vocab_size] out."""
        return self.predictions(x)


class BertForMaskedLM(Pretrained):
    """BERT that predicts words that are masked; its arguments are those of `BertModel`.

    Example:
        >>> import fx, jax, jax.numpy as jnp
        >>> model = fx.models.BertForMaskedLM(99, 8, 2, 2, 16, max_position_embeddings=16)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0))  # shapes alone, for speed
        >>> jax.eval_shape(model.apply, params, state, jnp.ones((3, 5), int))[0].shape
        (3, 5, 99)

    Source: transformers.BertForMaskedLM, with its tied decoder.
    """

    def __init__(self, *sizes: Any, **options: Any):
        self.bert = BertModel(*sizes, **{"add_pooling_layer": False, **options})
        words, norm = self.bert.embeddings.word_embeddings, self.bert.embeddings.LayerNorm
        std = options.get("initializer_range", 0.02)
        transform = Transform(words.embedding_dim, options.get("hidden_act", "gelu"), norm.eps)
        predictions = Predictions(transform, words.embedding_dim, words.num_embeddings)
        self.cls = Head(initial(predictions, std))
        source = "bert.embeddings.word_embeddings.weight"
        nn.tie(self, "cls.predictions.decoder.weight", source)

    def forward(
        self, input_ids: Any, attention_mask: Any = None,
        token_type_ids: Any = None, position_ids: Any = None,
    ) -> jax.Array:  # fmt: skip
        """Takes what `BertModel.forward` takes; returns logits [N, T, vocab_size]."""
        return self.cls(self.bert(input_ids, attention_mask, token_type_ids, position_ids)[0])


class BertForSequenceClassification(Pretrained):
    """BERT that classifies sequences, by its pooled first position.

    Args:
        *sizes: as `BertModel`'s.
        num_labels: number of outputs.
        classifier_dropout: before the last layer; hidden_dropout_prob unless told.
        **options: as `BertModel`'s.

    Example:
        >>> import fx, jax, jax.numpy as jnp
        >>> kind = fx.models.BertForSequenceClassification
        >>> model = kind(99, 8, 2, 2, 16, max_position_embeddings=16, num_labels=4)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0))  # shapes alone, for speed
        >>> jax.eval_shape(model.apply, params, state, jnp.ones((3, 5), int))[0].shape
        (3, 4)

    Source: transformers.BertForSequenceClassification.
    """

    def __init__(
        self,
        *sizes: Any,
        num_labels: int = 2,
        classifier_dropout: float | None = None,
        **options: Any,
    ):
        self.bert = BertModel(*sizes, **options)
        rate = self.bert.embeddings.dropout.p if classifier_dropout is None else classifier_dropout
        self.dropout = nn.Dropout(rate)
        classifier = nn.Linear(self.bert.embeddings.word_embeddings.embedding_dim, num_labels)
        self.classifier = initial(classifier, options.get("initializer_range", 0.02))

    def forward(
        self, input_ids: Any, attention_mask: Any = None,
        token_type_ids: Any = None, position_ids: Any = None,
    ) -> jax.Array:  # fmt: skip
        """Takes what `BertModel.forward` takes; returns logits [N, num_labels]."""
        return self.classifier(
            self.dropout(self.bert(input_ids, attention_mask, token_type_ids, position_ids)[1])
        )


class BertForTokenClassification(Pretrained):
    """BERT that classifies each token; arguments as of `BertForSequenceClassification`.

    Source: transformers.BertForTokenClassification.
    """

    def __init__(
        self,
        *sizes: Any,
        num_labels: int = 2,
        classifier_dropout: float | None = None,
        **options: Any,
    ):
        self.bert = BertModel(*sizes, **{"add_pooling_layer": False, **options})
        rate = self.bert.embeddings.dropout.p if classifier_dropout is None else classifier_dropout
        self.dropout = nn.Dropout(rate)
        classifier = nn.Linear(self.bert.embeddings.word_embeddings.embedding_dim, num_labels)
        self.classifier = initial(classifier, options.get("initializer_range", 0.02))

    def forward(
        self, input_ids: Any, attention_mask: Any = None,
        token_type_ids: Any = None, position_ids: Any = None,
    ) -> jax.Array:  # fmt: skip
        """Takes what `BertModel.forward` takes; returns logits [N, T, num_labels]."""
        return self.classifier(
            self.dropout(self.bert(input_ids, attention_mask, token_type_ids, position_ids)[0])
        )
