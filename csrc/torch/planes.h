// Signals (N, C, T) and images (N, C, H, W) as planes, or where the channels of images lie side by side, in that order.
#pragma once

#include "tensors.h"

namespace ganops {

struct Planes {
  int64_t samples, channels, height, width;
  bool channels_last;

  explicit Planes(const Tensor& x) {
    STD_TORCH_CHECK(x.dim() == 3 || x.dim() == 4, "ganops: x must be (N, C, T) or (N, C, H, W)");
    const auto sizes = x.sizes();
    samples = sizes[0], channels = sizes[1];
    height = x.dim() == 4 ? sizes[2] : 1, width = sizes[x.dim() - 1];
    channels_last = !x.is_contiguous() && is_channels_last(x);
  }

  // Uninitialised, in this layout, of another size.
  Tensor allocate(const Tensor& like, int64_t new_height, int64_t new_width) const {
    const int64_t sizes[] = {samples, channels, new_height, new_width};
    int64_t strides[4], stride = 1;
    const auto next = [&](int dimension) {
      strides[dimension] = stride;
      stride *= std::max<int64_t>(sizes[dimension], 1);
    };
    if (channels_last) next(1);
    next(3), next(2);
    if (!channels_last) next(1);
    next(0);
    if (like.dim() == 4) return empty(like, 4, sizes, strides, raw_dtype(like));
    const int64_t short_sizes[] = {samples, channels, new_width},
                  short_strides[] = {strides[0], strides[1], strides[3]};
    return empty(like, 3, short_sizes, short_strides, raw_dtype(like));
  }

  // The tensor, or a copy, in this layout.
  Tensor laid_out(const Tensor& x) const {
    const bool so = channels_last ? !x.is_contiguous() && is_channels_last(x) : x.is_contiguous();
    if (so) return x;
    const auto sizes = x.sizes();
    return copy_to(allocate(x, x.dim() == 4 ? sizes[2] : 1, sizes[x.dim() - 1]), x);
  }
};

}  // namespace ganops
