// Contract of feature matching over K pairs of tensors, n_k elements each:
//
//   v_k = mean |real_k − fake_k|  or  mean (real_k − fake_k)²,  divided by s_k = mean |real_k| where `normalize`
//   loss = Σ v_k,  Σ v_k / K,  or the vector v
//
// The forward pass of |·| leaves two bits per element (csrc/math/feature_matching.h), which are all that its gradient
// needs; squares are recomputed from the features.
#pragma once

#include "../math/feature_matching.h"
#include "common.h"

namespace ganops {

struct FeatureMatching {
  Distance distance;
  bool normalize;
  ScaleReduction reduction;
  bool wide;  // the loss and its gradient are in the type of sums, not in the features'
};

// Outputs are null where no gradient is wanted; features are null where the signs replace them, signs where there are
// none.
struct FeaturePair {
  int64_t count;
  const void *real, *fake;
  void *real_out, *fake_out;
  void* signs;
};

// Bytes of a tensor's signs: those of whole tiles of 16 KiB of elements. The signs of consecutive pairs follow each
// other; each backend has its own order within a pair. Python computes the same number
// (ganops/ops/feature_matching.py); opcheck compares.
inline int64_t sign_bytes(int64_t count, int64_t element_size) {
  const int64_t tile = 16384 / element_size;
  return (count + tile - 1) / tile * (tile / 4);
}

struct FeatureMatchingKernels {
  int64_t (*workspace)(DType, const FeaturePair*, int64_t pairs);
  // `scales`: K numbers s_k in the type of sums; null unless `normalize`.
  void (*value)(Stream, DType, const FeaturePair*, int64_t pairs, const FeatureMatching&, void* out, void* scales,
                void* workspace);
  // `gradient`: one number, or K.
  void (*first)(Stream, DType, const FeaturePair*, int64_t pairs, const FeatureMatching&, const void* gradient,
                const void* scales);
};

}  // namespace ganops
