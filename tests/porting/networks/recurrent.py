"""An LSTM that reads, a cell that writes, attention between them."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Seq2Seq(nn.Module):
    def __init__(self, vocab_size, hidden_size, steps=4):
        super().__init__()
        self.hidden_size = hidden_size
        self.steps = steps
        self.embedding = nn.Embedding(vocab_size, hidden_size, padding_idx=0)
        self.encoder = nn.LSTM(
            hidden_size, hidden_size, num_layers=2, batch_first=True, bidirectional=True
        )
        self.reduce = nn.Linear(2 * hidden_size, hidden_size)
        self.cell = nn.GRUCell(hidden_size, hidden_size)
        self.out = nn.Linear(2 * hidden_size, vocab_size)

    def forward(self, tokens):
        batch = tokens.size(0)
        outputs, (h, c) = self.encoder(self.embedding(tokens))
        memory = torch.tanh(self.reduce(outputs))  # (batch, length, hidden)
        hidden = memory.max(dim=1)[0]
        x = torch.zeros(batch, self.hidden_size, device=tokens.device)
        logits = []
        for _ in range(self.steps):
            hidden = self.cell(x, hidden)
            scores = torch.bmm(memory, hidden.unsqueeze(2)).squeeze(2)
            weights = F.softmax(scores, dim=1)
            context = torch.bmm(weights.unsqueeze(1), memory).squeeze(1)
            step = self.out(torch.cat([hidden, context], 1))
            logits.append(step)
            _, best = step.max(1)
            x = self.embedding(best)
        return torch.stack(logits, dim=1), h.mean(0)


def make():
    return Seq2Seq(12, 8)


INPUT = ((3, 5, "int", 12),)
