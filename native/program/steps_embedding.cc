// Steps that read sparse features.
#include <algorithm>
#include <cmath>

#include "program/step.h"

namespace recstack {
namespace {

constexpr int64_t kPrefetchDistance = 32;

int64_t index_at(const void* values, IndexType type, int64_t i) {
  return type == IndexType::int32 ? static_cast<const int32_t*>(values)[i]
                                  : static_cast<const int64_t*>(values)[i];
}

const void* index_pointer(const BatchView& batch, int64_t i) {
  const int64_t size = batch.index_type == IndexType::int32 ? 4 : 8;
  return static_cast<const char*>(batch.values) + i * size;
}

// Entry of the tile that lookup `position` (counted from the tile's first) belongs to.
int64_t entry_of(const FeatureCursor& cursor, int64_t position) {
  int64_t entry = cursor.entry;
  while (position >= cursor.lengths[entry]) position -= cursor.lengths[entry++];
  return entry;
}

// What every feature step shares. ints: feature, table rows, dim, padding index (-1: none), then
// the kind's own. weights: the table, already moved by row_offset.
class FeatureStep : public Step {
 public:
  explicit FeatureStep(const StepSpec& spec)
      : Step(spec.scope), feature_(spec.ints[0]), out_(spec.operands.back()) {}

 protected:
  const FeatureCursor& cursor(const Context& c) const { return c.cursors[feature_]; }

  Status too_long(const Context& c, int64_t positions) const {
    const FeatureCursor& at = cursor(c);
    const int64_t entries = c.entries(scope);
    for (int64_t e = at.entry; e < at.entry + entries; ++e) {
      if (at.lengths[e] > positions) {
        return {.code = Status::Code::bag_too_long,
                .feature = static_cast<int32_t>(feature_),
                .entry = e,
                .value = at.lengths[e],
                .limit = positions};
      }
    }
    return {};
  }

  int64_t feature_;
  Operand out_;
};

class TableStep : public FeatureStep {
 public:
  explicit TableStep(const StepSpec& spec)
      : FeatureStep(spec),
        table_(spec.weights[0].data),
        rows_(spec.ints[1]),
        dim_(spec.ints[2]),
        padding_(spec.ints[3]) {}

  void prefetch(const Context& c) const override {
    const FeatureCursor& at = cursor(c);
    const int64_t count = std::min(kPrefetchDistance, at.end - at.lookup);
    c.kernels->embag.prefetch_f32(table_, rows_, dim_, index_pointer(*c.batch, at.lookup),
                                  c.batch->index_type, count);
  }

 protected:
  Status out_of_range(const Context& c, int64_t position) const {
    const FeatureCursor& at = cursor(c);
    return {.code = Status::Code::index_out_of_range,
            .feature = static_cast<int32_t>(feature_),
            .entry = entry_of(at, position),
            .value = index_at(c.batch->values, c.batch->index_type, at.lookup + position),
            .limit = rows_};
  }

  const float* table_;
  int64_t rows_;
  int64_t dim_;
  int64_t padding_;
};

// "bag": ints + pooling (0 sum, 1 mean, 2 weighted).
class BagStep final : public TableStep {
 public:
  explicit BagStep(const StepSpec& spec) : TableStep(spec), pooling_(spec.ints[4]) {}

  Status run(const Context& c) const override {
    const FeatureCursor& at = cursor(c);
    const bool weighted = pooling_ == 2;
    if (weighted) {
      if (Status s = check_weights(c); !s.ok()) return s;
    }
    EmbagArgs args{.table = table_,
                   .rows = rows_,
                   .dim = dim_,
                   .indices = index_pointer(*c.batch, at.lookup),
                   .index_type = c.batch->index_type,
                   .lookups_ahead = at.end - at.lookup,
                   .lengths = at.lengths + at.entry,
                   .bags = c.entries(scope),
                   .weights = weighted ? c.batch->weights + at.lookup : nullptr,
                   .pooling = pooling_ == 1 ? Pooling::mean : Pooling::sum,
                   .padding_index = padding_,
                   .prefetch_distance = kPrefetchDistance,
                   .out = c.at(out_),
                   .out_stride = out_.stride};
    const int64_t bad = c.kernels->embag.bag_f32(args);
    return bad < 0 ? Status{} : out_of_range(c, bad);
  }

 private:
  Status check_weights(const Context& c) const {
    const FeatureCursor& at = cursor(c);
    int64_t lookup = at.lookup;
    for (int64_t e = at.entry; e < at.entry + c.entries(scope); ++e) {
      const int64_t bad =
          c.kernels->act.find_non_finite_f32(c.batch->weights + lookup, at.lengths[e]);
      if (bad >= 0) {
        return {.code = Status::Code::not_finite_weight,
                .feature = static_cast<int32_t>(feature_),
                .entry = e,
                .column = bad,
                .value = lookup + bad};
      }
      lookup += at.lengths[e];
    }
    return {};
  }

  int64_t pooling_;
};

// "sequence": ints + positions.
class SequenceStep final : public TableStep {
 public:
  explicit SequenceStep(const StepSpec& spec) : TableStep(spec), positions_(spec.ints[4]) {}

  Status run(const Context& c) const override {
    if (Status s = too_long(c, positions_); !s.ok()) return s;
    const FeatureCursor& at = cursor(c);
    SequenceArgs args{.table = table_,
                      .rows = rows_,
                      .dim = dim_,
                      .indices = index_pointer(*c.batch, at.lookup),
                      .index_type = c.batch->index_type,
                      .lookups_ahead = at.end - at.lookup,
                      .lengths = at.lengths + at.entry,
                      .bags = c.entries(scope),
                      .positions = positions_,
                      .padding_index = padding_,
                      .prefetch_distance = kPrefetchDistance,
                      .out = c.at(out_),
                      .out_stride = out_.stride};
    const int64_t bad = c.kernels->embag.sequence_f32(args);
    return bad < 0 ? Status{} : out_of_range(c, bad);
  }

 private:
  int64_t positions_;
};

// "mask": ints = feature, positions, padding index (-1: none).
class MaskStep final : public FeatureStep {
 public:
  explicit MaskStep(const StepSpec& spec)
      : FeatureStep(spec), positions_(spec.ints[1]), padding_(spec.ints[2]) {}

  Status run(const Context& c) const override {
    if (Status s = too_long(c, positions_); !s.ok()) return s;
    const FeatureCursor& at = cursor(c);
    float* out = c.at(out_);
    int64_t lookup = at.lookup;
    for (int64_t e = 0; e < c.entries(scope); ++e, out += out_.stride) {
      const int64_t length = at.lengths[at.entry + e];
      for (int64_t p = 0; p < positions_; ++p) {
        const bool held =
            p < length && (padding_ < 0 ||
                           index_at(c.batch->values, c.batch->index_type, lookup + p) != padding_);
        out[p] = held ? 1.0f : 0.0f;
      }
      lookup += length;
    }
    return {};
  }

 private:
  int64_t positions_;
  int64_t padding_;
};

}  // namespace

StepPtr make_embedding_step(const StepSpec& spec, const Kernels&) {
  if (spec.kind == "bag") return std::make_unique<BagStep>(spec);
  if (spec.kind == "sequence") return std::make_unique<SequenceStep>(spec);
  if (spec.kind == "mask") return std::make_unique<MaskStep>(spec);
  return nullptr;
}

}  // namespace recstack
