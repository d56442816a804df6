"""Models in the manner of public libraries: their idioms, not ours.

After facebookresearch/dlrm, pytorch-fm, DeepCTR-Torch, torch-rechub and SASRec.pytorch: the
structure of the published models, spelled as these libraries spell it.
"""

# mypy: ignore-errors
import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SPARSE = {"user": (30, 8), "item": (40, 8), "cat": (9, 8)}
DENSE = ["age", "price"]
WIDTH = 26


class DLRM_Net(nn.Module):
    def create_mlp(self, ln, sigmoid_layer):
        layers = nn.ModuleList()
        for i in range(len(ln) - 1):
            n, m = ln[i], ln[i + 1]
            LL = nn.Linear(int(n), int(m), bias=True)
            mean, std_dev = 0.0, np.sqrt(2 / (m + n))
            W = np.random.normal(mean, std_dev, size=(m, n)).astype(np.float32)
            LL.weight.data = torch.tensor(W, requires_grad=True)
            layers.append(LL)
            layers.append(nn.Sigmoid() if i == sigmoid_layer else nn.ReLU())
        return torch.nn.Sequential(*layers)

    def __init__(
        self,
        m_spa=8,
        ln_emb=(50, 30, 20, 10),
        ln_bot=(13, 16, 8),
        ln_top=(18, 16, 1),
        itself=False,
        weighted=None,
        loss_threshold=0.0,
    ):
        super().__init__()
        self.emb_l = nn.ModuleList()
        for n in ln_emb:
            EE = nn.EmbeddingBag(n, m_spa, mode="sum", sparse=True)
            self.emb_l.append(EE)
        self.v_W_l = (
            [None] * len(ln_emb) if weighted is None else [torch.ones(n) * 1.5 for n in ln_emb]
        )
        self.bot_l = self.create_mlp(ln_bot, -1)
        k = len(ln_emb) + 1
        d = m_spa + (k * (k + 1) // 2 if itself else k * (k - 1) // 2)
        self.top_l = self.create_mlp((d, *tuple(ln_top[1:])), len(ln_top) - 2)
        self.arch_interaction_itself = itself
        self.loss_threshold = loss_threshold

    def apply_emb(self, lS_o, lS_i, emb_l, v_W_l):
        ly = []
        for k, sparse_index_group_batch in enumerate(lS_i):
            sparse_offset_group_batch = lS_o[k]
            if v_W_l[k] is not None:
                per_sample_weights = v_W_l[k].gather(0, sparse_index_group_batch)
            else:
                per_sample_weights = None
            E = emb_l[k]
            V = E(
                sparse_index_group_batch,
                sparse_offset_group_batch,
                per_sample_weights=per_sample_weights,
            )
            ly.append(V)
        return ly

    def interact_features(self, x, ly):
        (batch_size, d) = x.shape
        T = torch.cat([x, *ly], dim=1).view((batch_size, -1, d))
        Z = torch.bmm(T, torch.transpose(T, 1, 2))
        _, ni, nj = Z.shape
        offset = 1 if self.arch_interaction_itself else 0
        li = torch.tensor([i for i in range(ni) for j in range(i + offset)])
        lj = torch.tensor([j for i in range(nj) for j in range(i + offset)])
        Zflat = Z[:, li, lj]
        return torch.cat([x, Zflat], dim=1)

    def forward(self, dense_x, lS_o, lS_i):
        x = self.bot_l(dense_x)
        ly = self.apply_emb(lS_o, lS_i, self.emb_l, self.v_W_l)
        z = self.interact_features(x, ly)
        p = self.top_l(z)
        if self.loss_threshold > 0.0 and self.loss_threshold < 1.0:
            z = torch.clamp(p, min=self.loss_threshold, max=(1.0 - self.loss_threshold))
        else:
            z = p
        return z


class FeaturesLinear(nn.Module):
    def __init__(self, field_dims, output_dim=1):
        super().__init__()
        self.fc = nn.Embedding(sum(field_dims), output_dim)
        self.bias = nn.Parameter(torch.zeros((output_dim,)))
        self.offsets = np.array((0, *np.cumsum(field_dims)[:-1]), dtype=np.int64)

    def forward(self, x):
        x = x + x.new_tensor(self.offsets).unsqueeze(0)
        return torch.sum(self.fc(x), dim=1) + self.bias


class FeaturesEmbedding(nn.Module):
    def __init__(self, field_dims, embed_dim):
        super().__init__()
        self.embedding = nn.Embedding(sum(field_dims), embed_dim)
        self.register_buffer(
            "offsets", torch.from_numpy(np.array((0, *np.cumsum(field_dims)[:-1]), dtype=np.int64))
        )
        nn.init.xavier_uniform_(self.embedding.weight.data)

    def forward(self, x):
        x = x + self.offsets.unsqueeze(0)
        return self.embedding(x)


class MLP(nn.Module):
    def __init__(self, input_dim, embed_dims, dropout, output_layer=True, norm=nn.BatchNorm1d):
        super().__init__()
        layers = []
        for d in embed_dims:
            layers += [nn.Linear(input_dim, d), norm(d), nn.ReLU(), nn.Dropout(p=dropout)]
            input_dim = d
        if output_layer:
            layers.append(nn.Linear(input_dim, 1))
        self.mlp = nn.Sequential(*layers)

    def forward(self, x):
        return self.mlp(x)


class CompressedInteractionNetwork(nn.Module):
    def __init__(self, input_dim, cross_layer_sizes, split_half=True):
        super().__init__()
        self.num_layers = len(cross_layer_sizes)
        self.split_half = split_half
        self.conv_layers = nn.ModuleList()
        prev_dim, fc_input_dim = input_dim, 0
        for i in range(self.num_layers):
            c = cross_layer_sizes[i]
            self.conv_layers.append(
                nn.Conv1d(input_dim * prev_dim, c, 1, stride=1, dilation=1, bias=True)
            )
            if self.split_half and i != self.num_layers - 1:
                c //= 2
            prev_dim = c
            fc_input_dim += prev_dim
        self.fc = nn.Linear(fc_input_dim, 1)

    def forward(self, x):
        xs = []
        x0, h = x.unsqueeze(2), x
        for i in range(self.num_layers):
            x = x0 * h.unsqueeze(1)
            batch_size, f0_dim, fin_dim, embed_dim = x.shape
            x = x.view(batch_size, f0_dim * fin_dim, embed_dim)
            x = F.relu(self.conv_layers[i](x))
            if self.split_half and i != self.num_layers - 1:
                x, h = torch.split(x, x.shape[1] // 2, dim=1)
            else:
                h = x
            xs.append(x)
        return self.fc(torch.sum(torch.cat(xs, dim=1), 2))


class xDeepFM(nn.Module):
    def __init__(self, field_dims=(10, 20, 5, 7), embed_dim=8):
        super().__init__()
        self.embedding = FeaturesEmbedding(field_dims, embed_dim)
        self.embed_output_dim = len(field_dims) * embed_dim
        self.cin = CompressedInteractionNetwork(len(field_dims), (8, 8), True)
        self.mlp = MLP(self.embed_output_dim, (16,), 0.2)
        self.linear = FeaturesLinear(field_dims)

    def forward(self, x):
        embed_x = self.embedding(x)
        x = self.linear(x) + self.cin(embed_x) + self.mlp(embed_x.view(-1, self.embed_output_dim))
        return torch.sigmoid(x.squeeze(1))


class InteractingLayer(nn.Module):
    """DeepCTR-Torch AutoInt."""

    def __init__(self, embedding_size, head_num=2, scaling=True):
        super().__init__()
        self.att_embedding_size = embedding_size // head_num
        self.head_num = head_num
        self.scaling = scaling
        for n in ("W_Query", "W_key", "W_Value", "W_Res"):
            setattr(self, n, nn.Parameter(torch.randn(embedding_size, embedding_size) * 0.3))

    def forward(self, inputs):
        querys = torch.tensordot(inputs, self.W_Query, dims=([-1], [0]))
        keys = torch.tensordot(inputs, self.W_key, dims=([-1], [0]))
        values = torch.tensordot(inputs, self.W_Value, dims=([-1], [0]))
        querys = torch.stack(torch.split(querys, self.att_embedding_size, dim=2))
        keys = torch.stack(torch.split(keys, self.att_embedding_size, dim=2))
        values = torch.stack(torch.split(values, self.att_embedding_size, dim=2))
        inner_product = torch.einsum("bnik,bnjk->bnij", querys, keys)
        if self.scaling:
            inner_product /= self.att_embedding_size**0.5
        normalized_att_scores = F.softmax(inner_product, dim=-1)
        result = torch.matmul(normalized_att_scores, values)
        result = torch.cat(
            torch.split(
                result,
                1,
            ),
            dim=-1,
        )
        result = torch.squeeze(result, dim=0)
        result += torch.tensordot(inputs, self.W_Res, dims=([-1], [0]))
        return F.relu(result)


class AutoIntDeepCTR(nn.Module):
    def __init__(self, vocab=(11, 7, 5), dim=8, dense=3):
        super().__init__()
        self.embedding_dict = nn.ModuleDict(
            {f"C{i}": nn.Embedding(v, dim) for i, v in enumerate(vocab)}
        )
        self.feature_index = {f"C{i}": (i, i + 1) for i in range(len(vocab))}
        self.nd = dense
        self.int_layers = nn.ModuleList([InteractingLayer(dim) for _ in range(2)])
        self.dnn_linear = nn.Linear(len(vocab) * dim + dense, 1, bias=False)

    def forward(self, X):
        embs = [
            self.embedding_dict[n](X[:, a:b].long()) for n, (a, b) in self.feature_index.items()
        ]
        dense = [X[:, i : i + 1] for i in range(len(embs), len(embs) + self.nd)]
        att = torch.cat(embs, dim=1)
        for layer in self.int_layers:
            att = layer(att)
        out = torch.cat([torch.flatten(att, start_dim=1), torch.cat(dense, dim=-1)], dim=-1)
        return torch.sigmoid(self.dnn_linear(out))


class CrossNet(nn.Module):
    def __init__(self, in_features, layer_num=2, parameterization="vector"):
        super().__init__()
        self.layer_num = layer_num
        self.parameterization = parameterization
        shape = (
            (layer_num, in_features, 1)
            if parameterization == "vector"
            else (layer_num, in_features, in_features)
        )
        self.kernels = nn.Parameter(torch.Tensor(*shape))
        self.bias = nn.Parameter(torch.Tensor(layer_num, in_features, 1))
        for i in range(self.kernels.shape[0]):
            nn.init.xavier_normal_(self.kernels[i])
        for i in range(self.bias.shape[0]):
            nn.init.normal_(self.bias[i])

    def forward(self, inputs):
        x_0 = inputs.unsqueeze(2)
        x_l = x_0
        for i in range(self.layer_num):
            if self.parameterization == "vector":
                xl_w = torch.tensordot(x_l, self.kernels[i], dims=([1], [0]))
                dot_ = torch.matmul(x_0, xl_w)
                x_l = dot_ + self.bias[i] + x_l
            else:
                xl_w = torch.matmul(self.kernels[i], x_l)
                dot_ = xl_w + self.bias[i]
                x_l = x_0 * dot_ + x_l
        return torch.squeeze(x_l, dim=2)


class CrossNetMix(nn.Module):
    def __init__(self, in_features, low_rank=4, num_experts=3, layer_num=2):
        super().__init__()
        self.layer_num, self.num_experts = layer_num, num_experts
        self.U_list = nn.Parameter(torch.Tensor(layer_num, num_experts, in_features, low_rank))
        self.V_list = nn.Parameter(torch.Tensor(layer_num, num_experts, in_features, low_rank))
        self.C_list = nn.Parameter(torch.Tensor(layer_num, num_experts, low_rank, low_rank))
        self.gating = nn.ModuleList(
            [nn.Linear(in_features, 1, bias=False) for i in range(num_experts)]
        )
        self.bias = nn.Parameter(torch.Tensor(layer_num, in_features, 1))
        for t in (self.U_list, self.V_list, self.C_list):
            for i in range(layer_num):
                nn.init.xavier_normal_(t[i])
        nn.init.normal_(self.bias)

    def forward(self, inputs):
        x_0 = inputs.unsqueeze(2)
        x_l = x_0
        for i in range(self.layer_num):
            output_of_experts = []
            gating_score_of_experts = []
            for expert_id in range(self.num_experts):
                gating_score_of_experts.append(self.gating[expert_id](x_l.squeeze(2)))
                v_x = torch.matmul(self.V_list[i][expert_id].t(), x_l)
                v_x = torch.tanh(v_x)
                v_x = torch.matmul(self.C_list[i][expert_id], v_x)
                v_x = torch.tanh(v_x)
                uv_x = torch.matmul(self.U_list[i][expert_id], v_x)
                dot_ = uv_x + self.bias[i]
                dot_ = x_0 * dot_
                output_of_experts.append(dot_.squeeze(2))
            output_of_experts = torch.stack(output_of_experts, 2)
            gating_score_of_experts = torch.stack(gating_score_of_experts, 1)
            moe_out = torch.matmul(output_of_experts, gating_score_of_experts.softmax(1))
            x_l = moe_out + x_l
        return x_l.squeeze()


class DCN(nn.Module):
    def __init__(self, kind="vector", vocab=(11, 7, 5), dim=4, dense=3):
        super().__init__()
        self.embs = nn.ModuleList([nn.Embedding(v, dim) for v in vocab])
        width = dim * len(vocab) + dense
        self.cross = CrossNetMix(width) if kind == "mix" else CrossNet(width, 2, kind)
        self.deep = MLP(width, (16, 8), 0.1, output_layer=False)
        self.final = nn.Linear(width + 8, 1)

    def forward(self, sparse: torch.Tensor, dense: torch.Tensor):
        cols = torch.unbind(sparse, dim=1)
        x = torch.cat([e(c) for e, c in zip(self.embs, cols, strict=False)] + [dense], dim=-1)
        return self.final(torch.cat((self.cross(x), self.deep(x)), dim=-1)).sigmoid().squeeze(-1)


class SENETLayer(nn.Module):
    def __init__(self, field_size, reduction_ratio=3):
        super().__init__()
        r = max(1, field_size // reduction_ratio)
        self.excitation = nn.Sequential(
            nn.Linear(field_size, r, bias=False),
            nn.ReLU(),
            nn.Linear(r, field_size, bias=False),
            nn.ReLU(),
        )

    def forward(self, inputs):
        Z = torch.mean(inputs, dim=-1, out=None)
        A = self.excitation(Z)
        return torch.mul(inputs, torch.unsqueeze(A, dim=2))


class BilinearInteraction(nn.Module):
    def __init__(self, filed_size, embedding_size, bilinear_type="interaction"):
        super().__init__()
        self.bilinear_type = bilinear_type
        if bilinear_type == "all":
            self.bilinear = nn.Linear(embedding_size, embedding_size, bias=False)
        elif bilinear_type == "each":
            self.bilinear = nn.ModuleList(
                [nn.Linear(embedding_size, embedding_size, bias=False) for _ in range(filed_size)]
            )
        else:
            self.bilinear = nn.ModuleList(
                [
                    nn.Linear(embedding_size, embedding_size, bias=False)
                    for _, _ in itertools.combinations(range(filed_size), 2)
                ]
            )

    def forward(self, inputs):
        inputs = torch.split(inputs, 1, dim=1)
        if self.bilinear_type == "all":
            p = [
                torch.mul(self.bilinear(v_i), v_j) for v_i, v_j in itertools.combinations(inputs, 2)
            ]
        elif self.bilinear_type == "each":
            p = [
                torch.mul(self.bilinear[i](inputs[i]), inputs[j])
                for i, j in itertools.combinations(range(len(inputs)), 2)
            ]
        else:
            p = [
                torch.mul(bilinear(v[0]), v[1])
                for v, bilinear in zip(
                    itertools.combinations(inputs, 2), self.bilinear, strict=False
                )
            ]
        return torch.cat(p, dim=1)


class FiBiNET(nn.Module):
    def __init__(self, vocab=(11, 7, 5, 9), dim=4, dense=3, kind="interaction"):
        super().__init__()
        self.emb = nn.ModuleDict({f"C{i}": nn.Embedding(v, dim) for i, v in enumerate(vocab)})
        f = len(vocab)
        self.SE = SENETLayer(f)
        self.Bilinear = BilinearInteraction(f, dim, kind)
        self.dnn = MLP(f * (f - 1) * dim + dense, (16,), 0.1)

    def forward(self, inputs):
        e = torch.cat([self.emb[k](inputs[k].view(-1, 1)) for k in self.emb], dim=1)
        senet = self.SE(e)
        a, b = self.Bilinear(senet), self.Bilinear(e)
        tmp = torch.cat([a, b], dim=1)
        flat = torch.flatten(torch.cat(torch.split(tmp, 1, dim=1), dim=-1), start_dim=1)
        return torch.sigmoid(self.dnn(torch.cat([flat, inputs["dense"]], -1)))


class EmbeddingLayer(nn.Module):
    def __init__(self, sparse, dense):
        super().__init__()
        self.embed_dict = nn.ModuleDict({n: nn.Embedding(v, d) for n, (v, d) in sparse.items()})
        self.sparse, self.dense = list(sparse), list(dense)

    def forward(self, x):
        s = [self.embed_dict[n](x[n].long()).unsqueeze(1) for n in self.sparse]
        d = [x[n].float().unsqueeze(1) if x[n].dim() == 1 else x[n].float() for n in self.dense]
        return torch.cat((torch.cat(s, dim=1).flatten(start_dim=1), torch.cat(d, dim=1)), dim=1)


SPARSE = {"user": (30, 8), "item": (40, 8), "cat": (9, 4)}
SPARSE = {k: (v, 8) for k, (v, _) in SPARSE.items()}
DENSE = ["age", "price"]
WIDTH = 26


class MMOEEinsum(nn.Module):
    def __init__(self, tasks=("ctr", "cvr")):
        super().__init__()
        self.embedding = EmbeddingLayer(SPARSE, DENSE)
        self.w = nn.Parameter(torch.randn(4, WIDTH, 16) * 0.1)
        self.b = nn.Parameter(torch.randn(4, 16))
        self.gate = nn.Parameter(torch.randn(len(tasks), WIDTH, 4) * 0.1)
        self.towers = nn.ModuleDict({t: nn.Linear(16, 1) for t in tasks})

    def forward(self, x):
        e = self.embedding(x)
        h = F.gelu(torch.einsum("bi,eio->beo", e, self.w) + self.b)
        g = torch.einsum("bi,tie->bte", e, self.gate).softmax(-1)
        m = torch.einsum("bte,beo->tbo", g, h)
        return {
            t: tower(m[i]).sigmoid().squeeze(-1) for i, (t, tower) in enumerate(self.towers.items())
        }


class BST(nn.Module):
    def __init__(
        self,
        n_items=40,
        dim=8,
        L=6,
        nhead=2,
        batch_first=True,
        norm_first=False,
        activation="relu",
        padded=True,
    ):
        super().__init__()
        self.item = nn.Embedding(n_items, dim, padding_idx=0)
        self.pos = nn.Embedding(L + 1, dim)
        self.user = nn.Embedding(20, dim)
        enc = nn.TransformerEncoderLayer(
            dim,
            nhead,
            16,
            dropout=0.2,
            batch_first=batch_first,
            norm_first=norm_first,
            activation=activation,
        )
        self.encoder = nn.TransformerEncoder(enc, num_layers=2, enable_nested_tensor=False)
        self.batch_first, self.padded, self.L = batch_first, padded, L
        self.mlp = nn.Sequential(
            nn.Linear((L + 2) * dim, 32), nn.LeakyReLU(), nn.Dropout(0.2), nn.Linear(32, 1)
        )

    def forward(self, user, hist, target):
        seq = torch.cat([hist, target.unsqueeze(1)], dim=1)
        p = torch.arange(seq.size(1), device=seq.device).unsqueeze(0).expand_as(seq)
        x = self.item(seq) + self.pos(p)
        mask = (seq == 0) if self.padded else None
        if self.batch_first:
            y = self.encoder(x, src_key_padding_mask=mask)
        else:
            y = self.encoder(x.transpose(0, 1), src_key_padding_mask=mask).transpose(0, 1)
        z = torch.cat([y.flatten(1), self.user(user)], dim=1)
        return torch.sigmoid(self.mlp(z)).view(-1)


class PointWiseFeedForward(nn.Module):
    def __init__(self, hidden_units, dropout_rate):
        super().__init__()
        self.conv1 = nn.Conv1d(hidden_units, hidden_units, kernel_size=1)
        self.dropout1 = nn.Dropout(p=dropout_rate)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv1d(hidden_units, hidden_units, kernel_size=1)
        self.dropout2 = nn.Dropout(p=dropout_rate)

    def forward(self, inputs):
        outputs = self.dropout2(
            self.conv2(self.relu(self.dropout1(self.conv1(inputs.transpose(-1, -2)))))
        )
        outputs = outputs.transpose(-1, -2)
        outputs += inputs
        return outputs


class SASRec(nn.Module):
    def __init__(self, item_num=50, hidden=8, maxlen=6, blocks=2, heads=2):
        super().__init__()
        self.item_emb = nn.Embedding(item_num + 1, hidden, padding_idx=0)
        self.pos_emb = nn.Embedding(maxlen + 1, hidden, padding_idx=0)
        self.emb_dropout = nn.Dropout(0.2)
        self.an = nn.ModuleList(nn.LayerNorm(hidden, eps=1e-8) for _ in range(blocks))
        self.al = nn.ModuleList(nn.MultiheadAttention(hidden, heads, 0.2) for _ in range(blocks))
        self.fn = nn.ModuleList(nn.LayerNorm(hidden, eps=1e-8) for _ in range(blocks))
        self.fl = nn.ModuleList(PointWiseFeedForward(hidden, 0.2) for _ in range(blocks))
        self.last_layernorm = nn.LayerNorm(hidden, eps=1e-8)

    def log2feats(self, log_seqs):
        seqs = self.item_emb(log_seqs)
        seqs *= self.item_emb.embedding_dim**0.5
        poss = torch.arange(1, log_seqs.shape[1] + 1).unsqueeze(0).repeat(log_seqs.shape[0], 1)
        poss = poss * (log_seqs != 0)
        seqs += self.pos_emb(poss)
        seqs = self.emb_dropout(seqs)
        tl = seqs.shape[1]
        attention_mask = ~torch.tril(torch.ones((tl, tl), dtype=torch.bool))
        for i in range(len(self.al)):
            seqs = torch.transpose(seqs, 0, 1)
            Q = self.an[i](seqs)
            o, _ = self.al[i](Q, seqs, seqs, attn_mask=attention_mask)
            seqs = Q + o
            seqs = torch.transpose(seqs, 0, 1)
            seqs = self.fn[i](seqs)
            seqs = self.fl[i](seqs)
        return self.last_layernorm(seqs)

    def forward(self, log_seqs, item_indices):
        log_feats = self.log2feats(log_seqs)
        final_feat = log_feats[:, -1, :]
        item_embs = self.item_emb(item_indices)
        return item_embs.matmul(final_feat.unsqueeze(-1)).squeeze(-1)


class SDPASeq(nn.Module):
    """LLM-style block: F.scaled_dot_product_attention, RMSNorm, SwiGLU, mask from lengths."""

    def __init__(self, items=50, dim=16, heads=4, L=7, causal=False):
        super().__init__()
        self.emb = nn.Embedding(items, dim)
        self.register_buffer("steps", torch.arange(L), persistent=False)
        self.pos = nn.Parameter(torch.randn(1, L, dim) * 0.1)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.o = nn.Linear(dim, dim)
        self.norm1, self.norm2 = nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.w12, self.w3 = nn.Linear(dim, 4 * dim), nn.Linear(2 * dim, dim)
        self.h, self.causal = heads, causal
        self.head = nn.Linear(dim, 1)

    def forward(self, hist, lengths, target):
        x = self.emb(hist) + self.pos
        B, L, D = x.shape
        valid = self.steps[None, :] < lengths[:, None]
        q, k, v = self.qkv(self.norm1(x)).view(B, L, 3, self.h, D // self.h).permute(2, 0, 3, 1, 4)
        if self.causal:
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None, :])
        x = x + self.o(a.transpose(1, 2).reshape(B, L, D))
        g, u = self.w12(self.norm2(x)).chunk(2, dim=-1)
        x = x + self.w3(F.silu(g) * u)
        m = valid.unsqueeze(-1).to(x.dtype)
        pooled = (x * m).sum(1) / m.sum(1).clamp(min=1.0)
        return (pooled * self.emb(target)).sum(-1) + self.head(pooled).squeeze(-1)


class TwoTower(nn.Module):
    def __init__(self, dim=8, temperature=0.07):
        super().__init__()
        self.user_id, self.country = nn.Embedding(30, dim), nn.Embedding(10, dim)
        self.hist = nn.EmbeddingBag(50, dim, mode="mean")
        self.item_id = nn.Embedding(50, dim)
        self.user_mlp = nn.Sequential(
            nn.Linear(3 * dim, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, dim)
        )
        self.item_mlp = nn.Sequential(
            nn.Linear(dim + 3, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, dim)
        )
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())

    def forward(self, *, user_id, country, hist, hist_offsets, item_id, item_dense):
        u = torch.cat(
            [self.user_id(user_id), self.country(country), self.hist(hist, hist_offsets)], dim=1
        )
        u = F.normalize(self.user_mlp(u), p=2, dim=1)
        v = F.normalize(
            self.item_mlp(torch.cat([self.item_id(item_id), item_dense], dim=1)), dim=-1
        )
        return torch.einsum("bd,bd->b", u, v) / self.log_temperature.exp()


class GRU4Rec(nn.Module):
    def __init__(self, rnn="gru", layers=1, bidirectional=False, last=True):
        super().__init__()
        self.emb = nn.Embedding(40, 8)
        self.rnn = (nn.GRU if rnn == "gru" else nn.LSTM)(
            8,
            12,
            num_layers=layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=0.1 if layers > 1 else 0,
        )
        self.fc = nn.Linear(12 * (2 if bidirectional else 1), 8)
        self.last = last

    def forward(self, hist, target):
        out, h = self.rnn(self.emb(hist))
        h = h[0] if isinstance(h, tuple) else h
        z = (
            out[:, -1]
            if self.last
            else out.mean(1)
            + (torch.cat([h[-2], h[-1]], -1) if h.shape[-1] * 2 == out.shape[-1] else h[-1])
        )
        return (self.fc(z) * self.emb(target)).sum(-1)


class GRUPacked(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(40, 8)
        self.rnn = nn.GRU(8, 12, batch_first=True)
        self.fc = nn.Linear(12, 8)

    def forward(self, hist, lengths, target):
        p = nn.utils.rnn.pack_padded_sequence(
            self.emb(hist), lengths, batch_first=True, enforce_sorted=False
        )
        _, h = self.rnn(p)
        return (self.fc(h[-1]) * self.emb(target)).sum(-1)
