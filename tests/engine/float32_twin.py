"""Kernels' float32 arithmetic in NumPy: every operation rounded as an instruction set rounds it,
every sum in the order that the headers of native/kernels give.

What is made of these is a kernel's result bit for bit: 0 ulp off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.engine.reference.formats import bf16_chain, to_fp16

Floats = NDArray[np.float32]
F = np.float32


@dataclass(frozen=True)
class Arithmetic:
    """What an instruction set computes. fused: whether its fma rounds once; `scalar` has none."""

    fused: bool

    @classmethod
    def of(cls, isa: str) -> Arithmetic:
        return cls(isa != "scalar")

    def fma(self, a: Floats | F, b: Floats | F, c: Floats | F) -> Floats:
        """a * b + c."""
        if not self.fused:
            return np.asarray(a * b + c)
        product = np.asarray(a, np.float64) * b  # exact
        total = product + c
        # Rounding to odd where that was inexact keeps the second rounding from being one.
        back = total - product
        error = (product - (total - back)) + (c - back)
        even = total.view(np.int64) & 1 == 0
        odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
        return np.where((error != 0) & even, odd, total).astype(F)

    def polynomial(self, x: Floats, first: float, *others: float) -> Floats:
        """Horner's scheme, highest power first."""
        y = np.full_like(x, first)
        for c in others:
            y = self.fma(y, x, F(c))
        return y

    def exp(self, x: Floats) -> Floats:
        """math-inl.h of native/kernels/act, as the two below."""
        x = np.clip(x, F(-104), F(89))
        magic = F(1.5 * 2**23)
        n = self.fma(x, F(1.44269504088896341), magic) - magic
        r = self.fma(n, F(2.12194440e-4), self.fma(n, F(-0.693359375), x))
        p = self.polynomial(
            r,
            *(1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3),
            *(4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
        )
        return np.ldexp(self.fma(p, r * r, r) + F(1), n.astype(np.int32))

    def sigmoid(self, x: Floats) -> Floats:
        return F(1) / (F(1) + self.exp(-x))

    def tanh(self, x: Floats) -> Floats:
        end = F(7.99881172180175781 if self.fused else 7.90531110763549805)
        y = np.clip(x, -end, end)
        z = y * y
        p = self.polynomial(
            z,
            *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11),
            *(5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04),
            4.89352455891786e-03,
        )
        q = self.polynomial(
            z,
            1.19825839466702e-06,
            1.18534705686654e-04,
            2.26843463243900e-03,
            4.89352518554385e-03,
        )
        return y * (p / q)

    def product(self, x: Floats, weight: Floats, format: str) -> Floats:
        """x (rows, k) @ weight (n, k).T as gemm.h of native/kernels/gemm orders it."""
        if format == "bf16":
            return bf16_chain(x, weight)
        weight = to_fp16(weight) if format == "fp16" else weight
        sums = np.zeros((len(x), len(weight)), F)
        for i in range(x.shape[1]):
            sums = self.fma(x[:, i, None], weight[:, i], sums)
        return sums

    def gates(self, x: Floats, g: Floats, h: Floats, attention: Floats | None = None) -> Floats:
        """The state after `h` (rows, hidden); x, g (rows, 3 * hidden): seq.h of native/kernels/seq.

        attention: (rows, 1), of an AUGRU.
        """
        x_reset, x_update, x_new = np.split(x, 3, axis=1)
        g_reset, g_update, g_new = np.split(g, 3, axis=1)
        update = self.sigmoid(x_update + g_update)
        new = self.tanh(self.fma(self.sigmoid(x_reset + g_reset), g_new, x_new))
        if attention is None:
            return self.fma(update, h, (F(1) - update) * new)
        u = attention * update
        return self.fma(u, new, (F(1) - u) * h)
