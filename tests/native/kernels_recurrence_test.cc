#include <vector>

#include "check.h"
#include "guarded.h"
#include "kernels/seq/seq.h"
#include "rounding.h"

namespace recstack::test {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Case {
  int64_t rows, positions, hidden;
  bool attention, mask, sequence, shared, bias;
  WeightFormat format = WeightFormat::fp32;
};

struct Inputs {
  Inputs(const Case& c, Random& random)
      : xg(c.rows * c.positions * 3 * c.hidden),
        weight(3 * c.hidden * c.hidden),
        bias(3 * c.hidden),
        attention(c.rows * c.positions),
        mask(c.rows * c.positions),
        entry_of_row(static_cast<size_t>(c.rows)) {
    for (Guarded<float>* x : {&xg, &weight, &bias, &attention}) fill(*x, random);
    for (int64_t i = 0; i < c.rows * c.positions; ++i) mask[i] = i % 3 == 1 ? 0.0f : 1.0f;
    for (int64_t r = 0; r < c.rows; ++r) {
      entry_of_row[static_cast<size_t>(r)] = static_cast<int32_t>(r / 2);
    }
    rounded = as_weights(c.format, weight.data(), weight.size());
  }
  int64_t entry(const Case& c, int64_t r) const {
    return c.shared ? entry_of_row[static_cast<size_t>(r)] : r;
  }
  Guarded<float> xg, weight, bias, attention, mask;
  std::vector<float> rounded;  // the weight
  std::vector<int32_t> entry_of_row;
};

// All states of row r, (positions, hidden), in double precision.
std::vector<double> expected(const Case& c, Inputs& in, int64_t r) {
  const int64_t n = c.hidden, entry = in.entry(c, r);
  std::vector<double> h(static_cast<size_t>(n), 0.0), all;
  for (int64_t t = 0; t < c.positions; ++t) {
    std::vector<double> old = h;
    if (c.format == WeightFormat::bf16) {
      for (double& x : old) x = as_input(c.format, static_cast<float>(x));
    }
    const auto gate = [&](int64_t row) {
      double sum = c.bias ? static_cast<double>(in.bias[row]) : 0.0;
      for (int64_t i = 0; i < n; ++i) {
        sum += in.rounded[static_cast<size_t>(row * n + i)] * old[static_cast<size_t>(i)];
      }
      return sum;
    };
    for (int64_t j = 0; j < n; ++j) {
      const float* x = in.xg.data() + (entry * c.positions + t) * 3 * n + j;
      const double reset = sigmoid(x[0] + gate(j)), z = sigmoid(x[n] + gate(n + j));
      const double fresh = std::tanh(x[2 * n] + reset * gate(2 * n + j));
      const double u = in.attention[r * c.positions + t] * z;
      double& to = h[static_cast<size_t>(j)];
      if (c.mask && in.mask[entry * c.positions + t] == 0) continue;
      to = c.attention ? (1 - u) * to + u * fresh : (1 - z) * fresh + z * to;
    }
    all.insert(all.end(), h.begin(), h.end());
  }
  return all;
}

// The same as the kernel makes it: seq.h and recurrence.h, word by word.
std::vector<float> twin(Isa isa, const Case& c, const Inputs& in, int64_t r) {
  const int64_t n = c.hidden, entry = in.entry(c, r);
  const auto fma = [&](float x, float y, float z) { return fma_of(isa, x, y, z); };
  const auto sigmoid_of = [&](float x) { return unary_of(isa, Unary::sigmoid, x); };
  std::vector<float> h(static_cast<size_t>(n), 0.0f), all;
  for (int64_t t = 0; t < c.positions; ++t) {
    const std::vector<float> old = as_inputs(c.format, h.data(), n);
    const auto gate = [&](int64_t row) {
      const float sum = chain(isa, c.format, old.data(), in.rounded.data() + row * n, n);
      return c.bias ? sum + in.bias[row] : sum;
    };
    for (int64_t j = 0; j < n; ++j) {
      if (c.mask && in.mask[entry * c.positions + t] == 0) continue;
      const float* x = in.xg.data() + (entry * c.positions + t) * 3 * n + j;
      const float reset = sigmoid_of(x[0] + gate(j)), z = sigmoid_of(x[n] + gate(n + j));
      const float fresh = unary_of(isa, Unary::tanh, fma(reset, gate(2 * n + j), x[2 * n]));
      const float u = in.attention[r * c.positions + t] * z;
      float& to = h[static_cast<size_t>(j)];
      to = c.attention ? fma(u, fresh, (1 - u) * to) : fma(z, to, (1 - z) * fresh);
    }
    all.insert(all.end(), h.begin(), h.end());
  }
  return all;
}

void check_case(Isa isa, const Case& c) {
  context = std::string(isa_name(isa)) + " " + kNames[static_cast<int>(c.format)] +
            " recurrence rows=" + std::to_string(c.rows) + " hidden=" + std::to_string(c.hidden) +
            " attention=" + std::to_string(c.attention) + " mask=" + std::to_string(c.mask) +
            " sequence=" + std::to_string(c.sequence);
  Random random(static_cast<uint64_t>(c.rows * 100 + c.hidden));
  Inputs in(c, random);
  const RecurrenceKernels& kernels = seq_kernels(isa).recurrence[static_cast<int>(c.format)];
  std::vector<float> held(static_cast<size_t>(kernels.packed_bytes(c.hidden) + 3) / 4 + 16);
  float* packed = held.data() + (64 - reinterpret_cast<uintptr_t>(held.data()) % 64) % 64 / 4;
  kernels.pack(in.weight.data(), c.hidden, packed);
  const int64_t width = (c.sequence ? c.positions : 1) * c.hidden;
  Output out(c.rows, width, width + 3);
  const int64_t room =
      2 * c.hidden + (c.format == WeightFormat::bf16 ? (c.hidden + 15) / 16 * 16 : 0);
  Guarded<float> state(c.rows * room);
  RecurrenceArgs args = {.xg = in.xg.data(),
                         .xg_stride = c.positions * 3 * c.hidden,
                         .xg_entry_of_row = c.shared ? in.entry_of_row.data() : nullptr,
                         .packed = packed,
                         .bias = c.bias ? in.bias.data() : nullptr,
                         .attention = c.attention ? in.attention.data() : nullptr,
                         .attention_stride = c.positions,
                         .mask = c.mask ? in.mask.data() : nullptr,
                         .mask_stride = c.positions,
                         .mask_entry_of_row = c.shared ? in.entry_of_row.data() : nullptr,
                         .rows = c.rows,
                         .positions = c.positions,
                         .hidden = c.hidden,
                         .sequence = c.sequence,
                         .out = out.data(),
                         .out_stride = width + 3,
                         .state = state.data(),
                         .state_stride = room};
  kernels.recurrence(args);
  out.check_canaries();
  // A state that lies close to the middle of two bf16 may round the other way in doubles.
  const double tolerance = c.format == WeightFormat::bf16 ? 4e-3 : 2e-6;
  const int64_t first = c.sequence ? 0 : (c.positions - 1) * c.hidden;
  for (int64_t r = 0; r < c.rows; ++r) {
    const std::vector<double> want = expected(c, in, r);
    for (int64_t j = 0; j < width; ++j) CHECK_NEAR(out.at(r, j), want[first + j], tolerance);
    CHECK_SAME_BITS(out.row(r), twin(isa, c, in, r).data() + first, width);
  }
  // One row alone gives the same bits: its chains do not depend on the block.
  if (c.shared || c.rows == 0) return;
  Output alone(1, width, width);
  const int64_t last = c.rows - 1;
  args.rows = 1;
  args.xg += last * args.xg_stride;
  if (c.attention) args.attention += last * c.positions;
  if (c.mask) args.mask += last * c.positions;
  args.out = alone.data();
  kernels.recurrence(args);
  CHECK_SAME_BITS(alone.row(0), out.row(last), width);
}

void run(Isa isa) {
  for (int64_t hidden : {1, 5, 16, 17, 33, 64}) {
    for (int64_t rows : {0, 1, 2, 7, 17}) {
      for (int flags = 0; flags < 16; ++flags) {
        const bool sequence = flags & 4;
        for (WeightFormat format : kFormats) {
          check_case(isa, {rows, sequence ? 3 : 4, hidden, bool(flags & 1), bool(flags & 2),
                           sequence, bool(flags & 8), hidden != 5, format});
        }
      }
    }
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) recstack::test::run(isa);
  return recstack::test::finish();
}
