#include <vector>

#include "check.h"
#include "core/aligned.h"
#include "guarded.h"
#include "kernels/seq/seq.h"
#include "rounding.h"

namespace recstack::test {
namespace {

struct Case {
  int64_t rows, positions, dim, hidden;
  bool sequence, start, bias;
  WeightFormat format = WeightFormat::fp32;
};

struct Inputs {
  Inputs(const Case& c, Random& random)
      : x(c.rows * c.positions * c.dim),
        weight(c.hidden * (c.dim + c.hidden)),
        bias(c.hidden),
        start(c.rows * c.hidden) {
    for (Guarded<float>* array : {&x, &weight, &bias, &start}) fill(*array, random);
    // Sums of about 1, where tanh is neither its argument nor its limit.
    for (int64_t i = 0; i < weight.size(); ++i) {
      weight[i] /= std::sqrt(static_cast<float>(c.dim + c.hidden));
    }
    rounded = as_weights(c.format, weight.data(), weight.size());
  }
  Guarded<float> x, weight, bias, start;
  std::vector<float> rounded;  // the weight
};

// All states of row r, (positions, hidden), in double precision.
std::vector<double> expected(const Case& c, Inputs& in, int64_t r) {
  const int64_t n = c.hidden, k = c.dim + n;
  std::vector<double> h(static_cast<size_t>(n), 0.0), all;
  if (c.start) h.assign(in.start.data() + r * n, in.start.data() + (r + 1) * n);
  for (int64_t t = 0; t < c.positions; ++t) {
    std::vector<double> old = h;
    if (c.format == WeightFormat::bf16) {
      for (double& value : old) value = as_input(c.format, static_cast<float>(value));
    }
    const std::vector<float> x =
        as_inputs(c.format, in.x.data() + (r * c.positions + t) * c.dim, c.dim);
    for (int64_t j = 0; j < n; ++j) {
      const float* w = in.rounded.data() + j * k;
      double sum = c.bias ? static_cast<double>(in.bias[j]) : 0.0;
      for (int64_t i = 0; i < c.dim; ++i) {
        sum += static_cast<double>(w[i]) * x[static_cast<size_t>(i)];
      }
      for (int64_t i = 0; i < n; ++i) sum += w[c.dim + i] * old[static_cast<size_t>(i)];
      h[static_cast<size_t>(j)] = std::tanh(sum);
    }
    all.insert(all.end(), h.begin(), h.end());
  }
  return all;
}

// The same as the kernel makes it: rnn.h word by word.
std::vector<float> twin(Isa isa, const Case& c, const Inputs& in, int64_t r) {
  const int64_t n = c.hidden, k = c.dim + n;
  std::vector<float> h(static_cast<size_t>(n), 0.0f), all;
  if (c.start) h.assign(in.start.data() + r * n, in.start.data() + (r + 1) * n);
  for (int64_t t = 0; t < c.positions; ++t) {
    const std::vector<float> old = as_inputs(c.format, h.data(), n);
    const std::vector<float> x =
        as_inputs(c.format, in.x.data() + (r * c.positions + t) * c.dim, c.dim);
    for (int64_t j = 0; j < n; ++j) {
      const float* w = in.rounded.data() + j * k;
      float sum = chain(isa, c.format, x.data(), w, c.dim);
      sum = chain(isa, c.format, old.data(), w + c.dim, n, sum);
      h[static_cast<size_t>(j)] = unary_of(isa, Unary::tanh, c.bias ? sum + in.bias[j] : sum);
    }
    all.insert(all.end(), h.begin(), h.end());
  }
  return all;
}

void check_case(Isa isa, const Case& c) {
  context = std::string(isa_name(isa)) + " " + kNames[static_cast<int>(c.format)] +
            " rnn rows=" + std::to_string(c.rows) + " positions=" + std::to_string(c.positions) +
            " dim=" + std::to_string(c.dim) + " hidden=" + std::to_string(c.hidden) +
            " sequence=" + std::to_string(c.sequence) + " start=" + std::to_string(c.start) +
            " bias=" + std::to_string(c.bias);
  Random random(static_cast<uint64_t>(c.rows * 100 + c.hidden));
  Inputs in(c, random);
  const RnnKernels& kernels = seq_kernels(isa).rnn[static_cast<int>(c.format)];
  AlignedFloats packed(static_cast<size_t>(kernels.packed_bytes(c.hidden, c.dim) + 3) / 4);
  kernels.pack(in.weight.data(), c.hidden, c.dim, packed.data());
  const int64_t width = (c.sequence ? c.positions : 1) * c.hidden;
  Output out(c.rows, width, width + 3);
  const bool rounds = c.format == WeightFormat::bf16;
  const int64_t room =
      2 * c.hidden + (rounds ? (c.dim + 15) / 16 * 16 + (c.hidden + 15) / 16 * 16 : 0);
  Guarded<float> state(c.sequence && !rounds ? 0 : c.rows * room);
  RnnArgs args = {.x = in.x.data(),
                  .x_stride = c.positions * c.dim,
                  .dim = c.dim,
                  .packed = packed.data(),
                  .bias = c.bias ? in.bias.data() : nullptr,
                  .start = c.start ? in.start.data() : nullptr,
                  .start_stride = c.hidden,
                  .rows = c.rows,
                  .positions = c.positions,
                  .hidden = c.hidden,
                  .sequence = c.sequence,
                  .out = out.data(),
                  .out_stride = width + 3,
                  .state = state.data(),
                  .state_stride = room};
  kernels.rnn(args);
  out.check_canaries();
  // A state that lies close to the middle of two bf16 may round the other way in doubles.
  const double tolerance = rounds ? 4e-3 : 2e-6;
  const int64_t first = c.sequence ? 0 : (c.positions - 1) * c.hidden;
  for (int64_t r = 0; r < c.rows; ++r) {
    const std::vector<double> want = expected(c, in, r);
    for (int64_t j = 0; j < width; ++j) CHECK_NEAR(out.at(r, j), want[first + j], tolerance);
    CHECK_SAME_BITS(out.row(r), twin(isa, c, in, r).data() + first, width);
  }
  // One row alone gives the same bits: its chains do not depend on the block.
  if (c.rows == 0) return;
  Output alone(1, width, width);
  const int64_t last = c.rows - 1;
  args.rows = 1;
  args.x += last * args.x_stride;
  if (c.start) args.start += last * args.start_stride;
  args.out = alone.data();
  kernels.rnn(args);
  CHECK_SAME_BITS(alone.row(0), out.row(last), width);
}

void run(Isa isa) {
  for (int64_t hidden : {1, 5, 16, 17, 33, 64, 100, 129}) {
    for (int64_t rows : {0, 1, 2, 3, 4, 7, 15}) {
      for (int flags = 0; flags < 8; ++flags) {
        const int64_t positions = 1 + (flags + rows) % 4, dim = flags == 3 ? 1 : 19;
        for (WeightFormat format : kFormats) {
          check_case(isa, {rows, positions, dim, hidden, bool(flags & 1), bool(flags & 2),
                           bool(flags & 4), format});
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
