// Steps that read sparse features.
#include <algorithm>

#include "core/aligned.h"
#include "program/step.h"

namespace recstack {
namespace {

int64_t index_at(const void* values, IndexType type, int64_t i) {
  return type == IndexType::int32 ? static_cast<const int32_t*>(values)[i]
                                  : static_cast<const int64_t*>(values)[i];
}

const void* index_pointer(const BatchView& batch, int64_t i) {
  const int64_t size = batch.index_type == IndexType::int32 ? 4 : 8;
  return static_cast<const char*>(batch.values) + i * size;
}

// Refuses entries of the tile that hold more than `positions` lookups.
Status check_fits(const Context& c, int64_t feature, int64_t positions) {
  const FeatureCursor& at = c.cursors[feature];
  if (c.layout->fixed_lengths[static_cast<size_t>(feature)] != 0) return {};
  for (int64_t e = at.entry; e < at.entry + at.entries; ++e) {
    if (at.lengths[e] > positions) {
      return {.code = Status::Code::bag_too_long,
              .feature = static_cast<int32_t>(feature),
              .entry = e,
              .value = at.lengths[e],
              .limit = positions};
    }
  }
  return {};
}

// "bags": tables of one width, each with its feature. operands: one output per table; tables
// without one are the first of the step to come, whose rows are prefetched. ints = dim, prefetch
// hint, distance and burst, whether the step before prefetched for this one, then for each table:
// feature, rows, padding index (-1: none), pooling (0 sum, 1 mean, 2 weighted, 3 none), positions
// (with none), format. weights: the tables, already moved by row_offset.
class BagsStep final : public Step {
 public:
  explicit BagsStep(const StepSpec& spec)
      : Step(spec.scope),
        dim_(spec.ints[0]),
        prefetch_{static_cast<PrefetchHint>(spec.ints[1]), spec.ints[2], spec.ints[3]},
        asked_(spec.ints[4] != 0),
        zeros_(static_cast<size_t>((zeros_bytes(dim_) + 3) / 4)),
        own_(static_cast<int64_t>(spec.operands.size())) {
    std::fill_n(zeros_.data(), zeros_.size(), 0.0f);
    for (size_t t = 0; t < spec.weights.size(); ++t) {
      const int64_t* ints = &spec.ints[5 + 6 * t];
      tables_.push_back({.data = spec.weights[t].bytes,
                         .feature = ints[0],
                         .rows = ints[1],
                         .padding = ints[2],
                         .pooling = ints[3],
                         .positions = ints[4],
                         .format = static_cast<RowFormat>(ints[5]),
                         .out = t < spec.operands.size() ? spec.operands[t] : Operand{}});
    }
  }

  bool divides() const override { return own_ > 1; }

  Status run(const Context& c) const override {
    return run_tables(c, static_cast<size_t>(c.share(own_, c.part)),
                      static_cast<size_t>(c.share(own_, c.part + 1)));
  }

 private:
  static constexpr int64_t kMean = 1, kWeighted = 2, kNone = 3;
  static constexpr size_t kTablesAtOnce = 64, kTablesAfter = 32;

  struct Table {
    const void* data;
    int64_t feature, rows, padding, pooling, positions;
    RowFormat format;
    Operand out;
  };

  Status run_tables(const Context& c, size_t begin, size_t end) const {
    for (size_t t = begin; t < end; ++t) {
      if (Status s = check_lengths_and_weights(c, tables_[t]); !s.ok()) return s;
    }
    // Which tables come next to this part of the step to come is only known of a step undivided.
    const bool whole = c.parts == 1;
    const size_t all = whole && c.leads_on ? tables_.size() : end;
    BagTable tables[kTablesAtOnce + kTablesAfter];
    for (size_t first = begin; first < end; first += kTablesAtOnce) {
      const size_t count = std::min(kTablesAtOnce, end - first);
      for (size_t t = 0; t < count; ++t) tables[t] = view(c, tables_[first + t]);
      const size_t room = std::min(kTablesAfter, all - first - count);
      size_t after = 0;
      for (int64_t lookups = 0; after < room && lookups < prefetch_.distance; ++after) {
        tables[count + after] = view(c, tables_[first + count + after]);
        lookups += tables[count + after].lookups;
      }
      const BadLookup bad =
          c.kernels->embag.bags({.tables = tables,
                                 .count = static_cast<int64_t>(count),
                                 .after = static_cast<int64_t>(after),
                                 .asked = first > begin || (whole && c.goes_on && asked_),
                                 .dim = dim_,
                                 .bags = c.entries(scope),
                                 .index_type = c.batch->index_type,
                                 .prefetch = prefetch_,
                                 .zeros = zeros_.data()});
      if (bad.table >= 0) return out_of_range(c, tables_[first + bad.table], bad.lookup);
    }
    return {};
  }

  BagTable view(const Context& c, const Table& t) const {
    const FeatureCursor& at = c.cursors[t.feature];
    return {.table = t.data,
            .format = t.format,
            .rows = t.rows,
            .padding_index = t.padding,
            .pooling = t.pooling == kNone   ? Pooling::none
                       : t.pooling == kMean ? Pooling::mean
                                            : Pooling::sum,
            .positions = t.positions,
            .indices = index_pointer(*c.batch, at.lookup),
            .lookups = at.lookups,
            .lengths = at.lengths + at.entry,
            .weights = t.pooling == kWeighted ? c.batch->weights + at.lookup : nullptr,
            .out = c.at(t.out),
            .out_stride = t.out.stride};
  }

  Status out_of_range(const Context& c, const Table& t, int64_t position) const {
    const FeatureCursor& at = c.cursors[t.feature];
    int64_t entry = at.entry;
    for (int64_t left = position; left >= at.lengths[entry];) left -= at.lengths[entry++];
    return {.code = Status::Code::index_out_of_range,
            .feature = static_cast<int32_t>(t.feature),
            .entry = entry,
            .value = index_at(c.batch->values, c.batch->index_type, at.lookup + position),
            .limit = t.rows};
  }

  Status check_lengths_and_weights(const Context& c, const Table& t) const {
    if (t.pooling == kWeighted) return check_weights(c, t.feature);
    return t.pooling == kNone ? check_fits(c, t.feature, t.positions) : Status{};
  }

  Status check_weights(const Context& c, int64_t feature) const {
    const FeatureCursor& at = c.cursors[feature];
    int64_t lookup = at.lookup;
    for (int64_t e = at.entry; e < at.entry + at.entries; ++e) {
      const int64_t bad =
          c.kernels->act.find_non_finite_f32(c.batch->weights + lookup, at.lengths[e]);
      if (bad >= 0) {
        return {.code = Status::Code::not_finite_weight,
                .feature = static_cast<int32_t>(feature),
                .entry = e,
                .column = bad,
                .value = lookup + bad};
      }
      lookup += at.lengths[e];
    }
    return {};
  }

  int64_t dim_;
  Prefetch prefetch_;
  bool asked_;
  AlignedFloats zeros_;
  int64_t own_;
  std::vector<Table> tables_;
};

// "mask": ints = feature, positions, padding index (-1: none), limit of the indices.
class MaskStep final : public Step {
 public:
  explicit MaskStep(const StepSpec& spec)
      : Step(spec.scope),
        out_(spec.operands.back()),
        feature_(spec.ints[0]),
        positions_(spec.ints[1]),
        padding_(spec.ints[2]),
        limit_(spec.ints[3]) {}

  Status run(const Context& c) const override {
    if (Status s = check_fits(c, feature_, positions_); !s.ok()) return s;
    const FeatureCursor& at = c.cursors[feature_];
    float* out = c.at(out_);
    int64_t lookup = at.lookup;
    for (int64_t e = 0; e < at.entries; ++e, out += out_.stride) {
      const int64_t length = at.lengths[at.entry + e];
      for (int64_t p = 0; p < length; ++p) {
        const int64_t index = index_at(c.batch->values, c.batch->index_type, lookup + p);
        if (index < 0 || index >= limit_) {
          return {.code = Status::Code::index_out_of_range,
                  .feature = static_cast<int32_t>(feature_),
                  .entry = at.entry + e,
                  .value = index,
                  .limit = limit_};
        }
        out[p] = index != padding_ ? 1.0f : 0.0f;
      }
      std::fill(out + length, out + positions_, 0.0f);
      lookup += length;
    }
    return {};
  }

 private:
  Operand out_;
  int64_t feature_;
  int64_t positions_;
  int64_t padding_;
  int64_t limit_;
};

}  // namespace

StepPtr make_embedding_step(const StepSpec& spec, const Parts&) {
  if (spec.kind == "bags") return std::make_unique<BagsStep>(spec);
  if (spec.kind == "mask") return std::make_unique<MaskStep>(spec);
  return nullptr;
}

}  // namespace recstack
