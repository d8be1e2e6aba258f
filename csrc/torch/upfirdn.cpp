// upfirdn as a torch operator; the schema is in schemas.cpp.
#include "../kernels/upfirdn.h"

#include "planes.h"

GANOPS_DECLARE_KERNELS(UpfirdnKernels, upfirdn)

namespace ganops {
namespace {

using Numbers = std::vector<int64_t>;

Axis axis(int64_t in, int64_t up, int64_t down, int64_t before, int64_t after, int64_t taps) {
  STD_TORCH_CHECK(up >= 1 && up <= most_factor && down >= 1 && down <= most_factor && taps >= 1 && taps <= most_taps,
                  "ganops: upfirdn takes factors of 1 to ", most_factor, " and filters of 1 to ", most_taps, " taps");
  // Rounded down: 0 for the gradient of a signal without elements.
  const int64_t places = in * up + before + after - taps, out = (places + down) / down - (places + down < 0);
  STD_TORCH_CHECK(out >= 0, "ganops: the filter of upfirdn is longer than the padded signal");
  return {in, out, up, down, before, taps};
}

// up and down: of x, and of y for images. padding: before and after each of them, in the same order.
Tensor upfirdn(const Tensor& x, const Tensor& filter, const Numbers& up, const Numbers& down, const Numbers& padding,
               bool flip, double gain) {
  const Planes planes(x);
  const bool image = x.dim() == 4;
  const size_t axes = image ? 2 : 1;
  STD_TORCH_CHECK(up.size() == axes && down.size() == axes && padding.size() == 2 * axes,
                  "ganops: upfirdn takes up, down and padding for each axis");
  STD_TORCH_CHECK(
      filter.is_contiguous() && (filter.dim() == 1 || (image && filter.dim() == 2)) &&
          raw_dtype(filter) == accumulate_dtype(x) && filter.get_device_index() == x.get_device_index(),
      "ganops: the filter must be contiguous, (taps) or for images (taps, taps), in the accumulation dtype");
  Resampling how{planes.samples, planes.channels, {}, {}, planes.channels_last, filter.dim() == 1, flip, gain};
  const auto taps = filter.sizes();
  how.x = axis(planes.width, up[0], down[0], padding[0], padding[1], taps[taps.size() - 1]);
  if (image) how.y = axis(planes.height, up[1], down[1], padding[2], padding[3], taps[0]);
  const Target target("upfirdn", x.get_device_index());
  const Tensor in = planes.laid_out(x);
  Tensor result = planes.allocate(x, how.y.out, how.x.out);
  void* out = output(result, "result");
  if (result.numel() > 0) {
    GANOPS_KERNELS(upfirdn).apply(target.stream(), dtype_of(in), how, input(in, "x"), input(filter, "filter"), out);
  }
  return result;
}

}  // namespace

GANOPS_REGISTER(m) { m.impl("upfirdn", TORCH_BOX(&upfirdn)); }

}  // namespace ganops
