// Feature matching as torch operators; the schemas are in schemas.cpp.
#include "../kernels/feature_matching.h"

#include "tensors.h"

GANOPS_DECLARE_KERNELS(FeatureMatchingKernels, feature_matching)

namespace ganops {
namespace {

using Tensors = std::vector<Tensor>;

FeatureMatching setting_of(int64_t distance, bool normalize, int64_t reduction, bool wide) {
  STD_TORCH_CHECK(distance >= 0 && distance <= 1, "ganops: distance must be 0 or 1");
  STD_TORCH_CHECK(reduction >= 0 && reduction <= 2, "ganops: scale_reduction must be 0, 1 or 2");
  return {static_cast<Distance>(distance), normalize, static_cast<ScaleReduction>(reduction), wide};
}

// Pairs of dense tensors of one layout. Those that are not are copied; the copies live as long as this.
struct Pairs {
  Tensors reals, fakes;
  std::vector<FeaturePair> pairs;

  Pairs(const Tensors& real, const Tensors& fake) {
    STD_TORCH_CHECK(!real.empty() && real.size() == fake.size(), "ganops: lists of features must have one length");
    pairs.reserve(real.size());
    for (size_t k = 0; k < real.size(); ++k) {
      check_same(real[k], fake[k]);
      check_same(real[k], real[0], false);
      STD_TORCH_CHECK(real[k].is_cpu() == real[0].is_cpu() && fake[k].is_cpu() == real[0].is_cpu(),
                      "ganops: features must be on one device");
      const Tensor y = dense(fake[k]), x = laid_out_as(real[k], y);
      fakes.push_back(y);
      reals.push_back(x);
      pairs.push_back({y.numel(), input(x, "real"), input(y, "fake"), nullptr, nullptr, nullptr});
    }
  }

  size_t size() const { return pairs.size(); }
};

// Gives each pair its part of the signs.
void share_out(std::vector<FeaturePair>& pairs, void* signs, int64_t element_size) {
  for (FeaturePair& pair : pairs) {
    pair.signs = signs;
    signs = static_cast<char*>(signs) + sign_bytes(pair.count, element_size);
  }
}

int64_t bytes_of_signs(const std::vector<FeaturePair>& pairs, int64_t element_size) {
  int64_t bytes = 0;
  for (const FeaturePair& pair : pairs) bytes += sign_bytes(pair.count, element_size);
  return bytes;
}

void check_gradient(const Tensor& grad, const Tensor& like, int64_t pairs, const FeatureMatching& setting) {
  const int64_t wanted = setting.reduction == ScaleReduction::none ? pairs : 1;
  STD_TORCH_CHECK(grad.numel() == wanted && grad.is_contiguous() && grad.is_cpu() == like.is_cpu() &&
                      grad.get_device_index() == like.get_device_index() &&
                      raw_dtype(grad) == (setting.wide ? accumulate_dtype(like) : raw_dtype(like)),
                  "ganops: the gradient of a feature matching loss must be as the loss is");
}

const void* scales_of(const Tensor& scales, const Tensor& like, int64_t pairs, const FeatureMatching& setting) {
  if (!setting.normalize) return nullptr;
  STD_TORCH_CHECK(scales.numel() == pairs && scales.is_contiguous() && scales.is_cpu() == like.is_cpu() &&
                      scales.get_device_index() == like.get_device_index() &&
                      raw_dtype(scales) == accumulate_dtype(like),
                  "ganops: there must be one scale for each pair of features");
  return input(scales, "scales");
}

std::tuple<Tensor, Tensor, Tensor> loss(const Tensors& real, const Tensors& fake, int64_t distance, bool normalize,
                                        int64_t reduction, bool wide, bool keep_signs) {
  const FeatureMatching setting = setting_of(distance, normalize, reduction, wide);
  STD_TORCH_CHECK(!real.empty() && real.size() == fake.size(), "ganops: lists of features must have one length");
  const Tensor& like = fake[0];
  const DType type = dtype_of(like);
  const Target target("feature_matching_loss", like.get_device_index());
  Pairs pairs(real, fake);
  const int64_t count = pairs.size();
  const int32_t dtype = wide ? accumulate_dtype(like) : raw_dtype(like);
  const bool each = setting.reduction == ScaleReduction::none, signed_ = keep_signs && setting.distance == Distance::l1;
  const int64_t bytes = signed_ ? bytes_of_signs(pairs.pairs, like.element_size()) : 0;
  const Tensor out = each ? empty_vector(like, count, dtype) : empty(like, 0, nullptr, nullptr, dtype),
               signs = empty_vector(like, bytes, aoti_torch_dtype_uint8()),
               scales = empty_vector(like, normalize ? count : 0, accumulate_dtype(like));
  if (bytes > 0) share_out(pairs.pairs, output(signs, "signs"), like.element_size());
  const auto& kernels = GANOPS_KERNELS(feature_matching);
  const Workspace workspace(like, kernels.workspace(type, pairs.pairs.data(), count));
  kernels.value(target.stream(), type, pairs.pairs.data(), count, setting, output(out, "loss"),
                normalize ? output(scales, "scales") : nullptr, workspace.data());
  return {out, signs, scales};
}

// The gradients of the real features, then those of the fake ones; what is not wanted is left out.
Tensors joined(Tensors real, const Tensors& fake) {
  real.insert(real.end(), fake.begin(), fake.end());
  return real;
}

// `sizes` and `strides` of all features one after the other, `dims` of them each.
Tensors l1_backward(const Tensor& grad, const Tensor& signs, const Tensor& scales, const Tensor& like,
                    const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides,
                    const std::vector<int64_t>& dims, bool normalize, int64_t reduction, bool want_real,
                    bool want_fake) {
  const FeatureMatching setting = setting_of(0, normalize, reduction, raw_dtype(grad) != raw_dtype(like));
  const DType type = dtype_of(like);
  const int64_t count = dims.size();
  const Target target("feature_matching_loss_l1_backward", like.get_device_index());
  check_gradient(grad, like, count, setting);
  Tensors real, fake;
  std::vector<FeaturePair> pairs;
  pairs.reserve(count);
  size_t place = 0;
  for (const int64_t dim : dims) {
    STD_TORCH_CHECK(dim >= 0 && place + dim <= sizes.size() && sizes.size() == strides.size(),
                    "ganops: the features' sizes and strides do not fit their numbers of dimensions");
    const auto make = [&](Tensors& list, const char* name) -> void* {
      list.push_back(empty(like, dim, sizes.data() + place, strides.data() + place, raw_dtype(like)));
      STD_TORCH_CHECK(is_dense(list.back()), "ganops: the features' strides must be those of dense tensors");
      return output(list.back(), name);
    };
    FeaturePair pair{1, nullptr, nullptr, nullptr, nullptr, nullptr};
    for (int64_t i = 0; i < dim; ++i) pair.count *= sizes[place + i];
    if (want_real) pair.real_out = make(real, "real's gradient");
    if (want_fake) pair.fake_out = make(fake, "fake's gradient");
    pairs.push_back(pair);
    place += dim;
  }
  STD_TORCH_CHECK(place == sizes.size() && signs.numel() == bytes_of_signs(pairs, like.element_size()) &&
                      raw_dtype(signs) == aoti_torch_dtype_uint8() && signs.is_contiguous() &&
                      signs.is_cpu() == like.is_cpu() && signs.get_device_index() == like.get_device_index(),
                  "ganops: the signs do not fit the features");
  if (signs.numel() > 0) share_out(pairs, const_cast<void*>(input(signs, "signs")), like.element_size());
  GANOPS_KERNELS(feature_matching)
      .first(target.stream(), type, pairs.data(), count, setting, input(grad, "grad"),
             scales_of(scales, like, count, setting));
  return joined(real, fake);
}

Tensors l2_backward(const Tensor& grad, const Tensors& real, const Tensors& fake, const Tensor& scales, bool normalize,
                    int64_t reduction, bool want_real, bool want_fake) {
  STD_TORCH_CHECK(!real.empty() && real.size() == fake.size(), "ganops: lists of features must have one length");
  const Tensor& like = fake[0];
  const FeatureMatching setting = setting_of(1, normalize, reduction, raw_dtype(grad) != raw_dtype(like));
  const DType type = dtype_of(like);
  const Target target("feature_matching_loss_l2_backward", like.get_device_index());
  Pairs pairs(real, fake);
  check_gradient(grad, like, pairs.size(), setting);
  Tensors real_out, fake_out;
  for (size_t k = 0; k < pairs.size(); ++k) {
    const auto make = [&](Tensors& list, const char* name) -> void* {
      list.push_back(empty_as(dense(fake[k])));
      return output(list.back(), name);
    };
    if (want_real) pairs.pairs[k].real_out = make(real_out, "real's gradient");
    if (want_fake) pairs.pairs[k].fake_out = make(fake_out, "fake's gradient");
  }
  GANOPS_KERNELS(feature_matching)
      .first(target.stream(), type, pairs.pairs.data(), pairs.size(), setting, input(grad, "grad"),
             scales_of(scales, like, pairs.size(), setting));
  return joined(real_out, fake_out);
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("feature_matching_loss", TORCH_BOX(&loss));
  m.impl("feature_matching_loss_l1_backward", TORCH_BOX(&l1_backward));
  m.impl("feature_matching_loss_l2_backward", TORCH_BOX(&l2_backward));
}

}  // namespace ganops
