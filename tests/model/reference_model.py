"""The model again, slow and readable: one patch, one head, one pair at a time, from the same weights."""

import math

import torch
from torch import Tensor

from darl.model.darl import Darl
from darl.model.objectives.diffusion import DiffusionDecoder


def reference_context(model: Darl, patches: Tensor) -> Tensor:
    """z (B, N, W), by writing the mask and the rotation out."""
    encoder = model.encoder
    rows, columns = encoder.grid
    order = encoder.patch_order.permutation(rows, columns).tolist()
    additive, rotation = encoder.position.additive(encoder.grid), encoder.position.rotation(encoder.grid)
    out = []
    for image in patches:
        tokens = [encoder.start_token[0, 0]]
        for index in range(len(order) - 1):
            token = _embedded(model, image[index])
            tokens.append(token if additive is None else token + additive[order[index]].to(token))
        x = torch.stack(tokens)
        angles = [None, *(None if rotation is None else rotation[raster].to(x) for raster in order[:-1])]
        for block in encoder.blocks:
            first, second = (getattr(scale, "gamma", 1) for scale in (block.ls1, block.ls2))
            x = x + first * _attend(block.attn, block.norm1(x), angles, encoder.causal)
            x = x + second * _mlp(block.mlp, block.norm2(x))
        out.append(encoder.norm(x))
    return torch.stack(out)


def _embedded(model: Darl, patch: Tensor) -> Tensor:
    """A patch's vector (W): the linear patch embedding, or the vector of its token."""
    embed = model.encoder.patch_embed
    if model.encoder.tokenizer is None:
        return embed.proj.weight.flatten(1) @ patch + embed.proj.bias
    image = patch.view(1, model.config.channels, model.patch_size, model.patch_size)
    return embed.table.weight[int(model.encoder.tokenizer.encode(image))]


def _mlp(mlp: torch.nn.Module, x: Tensor) -> Tensor:
    if not hasattr(mlp, "fc1_g"):
        return mlp.fc2(torch.nn.functional.gelu(mlp.fc1(x)))
    gate = mlp.fc1_g(x)
    return mlp.fc2(gate / (1 + torch.exp(-gate)) * mlp.fc1_x(x))


def _normed(norm: torch.nn.Module, x: Tensor) -> Tensor:
    """Each token's channels of one head at mean 0 and variance 1, times and plus what is learned."""
    if isinstance(norm, torch.nn.Identity):
        return x
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight + norm.bias


def _attend(attention: torch.nn.Module, x: Tensor, angles: list[Tensor | None], causal: bool) -> Tensor:
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    heads = []
    for q_head, k_head, v_head in zip(*(part.chunk(attention.heads, dim=-1) for part in (q, k, v)), strict=True):
        q_head, k_head = _normed(attention.q_norm, q_head), _normed(attention.k_norm, k_head)
        turned_q = torch.stack([_rotate(token, angle) for token, angle in zip(q_head, angles, strict=True)])
        turned_k = torch.stack([_rotate(token, angle) for token, angle in zip(k_head, angles, strict=True)])
        scores = turned_q @ turned_k.T / math.sqrt(q_head.shape[-1])
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
        heads.append(scores.softmax(-1) @ v_head)
    return attention.proj(torch.cat(heads, dim=-1))


def _rotate(token: Tensor, table: Tensor | None) -> Tensor:
    """Turn each pair of channels (2i, 2i + 1) by its own angle."""
    if table is None:
        return token
    sine, cosine = table.chunk(2)
    turned = token.clone()
    for i in range(0, len(token), 2):
        turned[i] = token[i] * cosine[i] - token[i + 1] * sine[i]
        turned[i + 1] = token[i + 1] * cosine[i] + token[i] * sine[i]
    return turned


def reference_denoise(model: Darl, context: Tensor, noisy: Tensor, gamma: Tensor) -> Tensor:
    """Clean patches (B, N, P): a softmax over the two tokens of each pair."""
    decoder = model.decoder
    assert isinstance(decoder, DiffusionDecoder)
    clean = torch.empty_like(noisy)
    for index in torch.cartesian_prod(torch.arange(noisy.shape[0]), torch.arange(noisy.shape[1])).tolist():
        at = tuple(index)
        x = decoder.embed(noisy[at])
        if decoder.embed_gamma is not None:
            x = x + decoder.embed_gamma(gamma[at].reshape(1, 1))[0, 0]
        for block in decoder.blocks:
            pair = torch.stack([context[at], x])
            q, k, v = (part.unflatten(-1, (block.heads, -1)) for part in block.qkv(block.norm1(pair)).chunk(3, dim=-1))
            attended = []
            for head in range(block.heads):
                scores = torch.stack([q[1, head] @ k[0, head], q[1, head] @ k[1, head]])
                share = (scores / math.sqrt(q.shape[-1])).softmax(0)
                attended.append(share[0] * v[0, head] + share[1] * v[1, head])
            x = x + block.proj(torch.cat(attended))
            x = x + block.mlp(block.norm2(x))
        output = decoder.head(decoder.norm(x))
        if decoder.predicts_noise:
            output = (noisy[at] - (1 - gamma[at]).sqrt() * output) / gamma[at].sqrt()
        clean[at] = output
    return clean
