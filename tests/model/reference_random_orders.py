"""Random orders again, slow and readable: one image and one token at a time, each with the list of tokens it reads."""

import math

import torch
from torch import Tensor

from darl.model.darl import Darl
from darl.model.encoder import Encoder
from darl.model.order_readers import InstructedReader, TargetAwareReader, TwoStreamReader

__all__ = ["reference_random_context"]

Token = tuple[Tensor, int | None, list[int]]
"""A token's vector, the raster index of its position (None: it has none), and the indices of the tokens it reads."""


def reference_random_context(model: Darl, patches: Tensor, orders: Tensor) -> Tensor:
    """z (B, N, W) in the patch order: of each patch, what is known from its position and those before it."""
    every = []
    for image, order in zip(patches, orders.tolist(), strict=True):
        reader = model.decoder.reader
        of = {TwoStreamReader: _two_streams, InstructedReader: _instructed, TargetAwareReader: _target_aware}
        tokens, outputs = of[type(reader)](model, image, order)
        z = _transformer(model.encoder, tokens)
        in_patch_order = [0] * len(order)
        for output, patch in zip(outputs, order, strict=True):
            in_patch_order[patch] = output
        every.append(z[in_patch_order])
    return torch.stack(every)


def _two_streams(model: Darl, image: Tensor, order: list[int]) -> tuple[list[Token], list[int]]:
    """h_i reads h up to itself; g_t, at the position of patch t, reads the start token and h of patches before t."""
    encoder, n = model.encoder, len(order)
    content: list[Token] = [_start(encoder)]
    content += [_content(encoder, image, patch, reads=list(range(i + 1))) for i, patch in enumerate(order[:-1], 1)]
    queries = [
        (_told(encoder, model.decoder.reader.vector, patch), _raster(encoder, patch), list(range(t)))
        for t, patch in enumerate(order, 1)
    ]
    return content + queries, list(range(n, 2 * n))


def _instructed(model: Darl, image: Tensor, order: list[int]) -> tuple[list[Token], list[int]]:
    encoder = model.encoder
    tokens, outputs = [_start(encoder)], []
    for patch in order:
        told, raster = _told(encoder, model.decoder.reader.vector, patch), _raster(encoder, patch)
        outputs.append(len(tokens))
        tokens.append((told, raster, list(range(len(tokens) + 1))))
        tokens.append(_content(encoder, image, patch, reads=list(range(len(tokens) + 1))))
    return tokens, outputs


def _target_aware(model: Darl, image: Tensor, order: list[int]) -> tuple[list[Token], list[int]]:
    encoder = model.encoder
    tokens = [_start(encoder)]
    tokens += [_content(encoder, image, patch, reads=list(range(i + 1))) for i, patch in enumerate(order[:-1], 1)]
    for i, target in enumerate(order):
        vector, raster, reads = tokens[i]
        tokens[i] = (vector + model.decoder.reader.table[_raster(encoder, target)], raster, reads)
    return tokens, list(range(len(order)))


def _start(encoder: Encoder) -> Token:
    return encoder.start_token[0, 0], None, [0]


def _content(encoder: Encoder, image: Tensor, patch: int, reads: list[int]) -> Token:
    projection = encoder.patch_embed.proj
    token = projection.weight.flatten(1) @ image[patch] + projection.bias
    return _placed(encoder, token, patch), _raster(encoder, patch), reads


def _raster(encoder: Encoder, patch: int) -> int:
    return int(encoder.patch_order.permutation(*encoder.grid)[patch])


def _placed(encoder: Encoder, token: Tensor, patch: int) -> Tensor:
    additive = encoder.position.additive(encoder.grid)
    return token if additive is None else token + additive[_raster(encoder, patch)].to(token)


def _told(encoder: Encoder, vector: Tensor, patch: int) -> Tensor:
    """The learned vector at the position of a patch, each head's channels rotated where positions are rotary."""
    heads = _placed(encoder, vector, patch).chunk(encoder.size.heads)
    return torch.cat([_rotate(head, _angles(encoder, _raster(encoder, patch))) for head in heads])


def _angles(encoder: Encoder, raster: int | None) -> Tensor | None:
    rotation = encoder.position.rotation(encoder.grid)
    return None if rotation is None or raster is None else rotation[raster].double()


def _rotate(token: Tensor, table: Tensor | None) -> Tensor:
    if table is None:
        return token
    sine, cosine = (half[::2] for half in table.chunk(2))
    even, odd = token[::2], token[1::2]
    return torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], 1).flatten()


def _transformer(encoder: Encoder, tokens: list[Token]) -> Tensor:
    x = torch.stack([vector for vector, _, _ in tokens])
    for block in encoder.blocks:
        attention, heads = block.attn, []
        q, k, v = (part.unflatten(1, (attention.heads, -1)) for part in attention.qkv(block.norm1(x)).chunk(3, 1))
        angles = [_angles(encoder, raster) for _, raster, _ in tokens]
        for head in range(attention.heads):
            turned = [
                [_rotate(token, angle) for token, angle in zip(part[:, head], angles, strict=True)] for part in (q, k)
            ]
            outputs = []
            for i, (_, _, reads) in enumerate(tokens):
                scores = torch.stack([turned[0][i] @ turned[1][j] for j in reads]) / math.sqrt(q.shape[2])
                outputs.append((scores.exp() / scores.exp().sum()) @ v[reads, head])
            heads.append(torch.stack(outputs))
        x = x + attention.proj(torch.cat(heads, 1))
        x = x + block.mlp(block.norm2(x))
    return encoder.norm(x)
