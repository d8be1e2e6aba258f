// The leaky ReLU on a finer grid as torch operators; the schemas are in schemas.cpp.
#include "planes.h"

namespace ganops {
namespace {

using Numbers = std::vector<int64_t>;

// What all three operators take, checked; the resamplings up to the fine grid and down from it, and their adjoints.
struct Arguments {
  Tensor x, bias, up_filter, down_filter;
  Resampling rise, fall;
  double gain, slope, clamp;

  Arguments(const Tensor& image, const Tensor& b, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down,
            const Numbers& padding, double gain, double slope, double clamp, bool flip)
      : x(as_contiguous(image)), bias(b), up_filter(fu), down_filter(fd), gain(gain), slope(slope), clamp(clamp) {
    STD_TORCH_CHECK(image.dim() == 4 && padding.size() == 4,
                    "ganops: filtered_lrelu takes (N, C, H, W) and the padding of four sides");
    const auto sizes = image.sizes();
    for (const Tensor* t : {&b, &fu, &fd}) {
      STD_TORCH_CHECK(t->dim() == 1 && t->is_contiguous() && raw_dtype(*t) == accumulate_dtype(image) &&
                          t->get_device_index() == image.get_device_index(),
                      "ganops: b and the filters must be contiguous vectors in the accumulation dtype");
    }
    STD_TORCH_CHECK(b.numel() == sizes[1], "ganops: b must be of each channel");
    for (const Tensor* filter : {&fu, &fd}) {
      STD_TORCH_CHECK(up >= 1 && up <= most_lrelu_factor && down >= 1 && down <= most_lrelu_factor &&
                          filter->numel() >= 1 && filter->numel() <= most_lrelu_taps,
                      "ganops: filtered_lrelu takes factors of 1 to ", most_lrelu_factor, " and filters of 1 to ",
                      most_lrelu_taps, " taps");
    }
    rise = fall = {sizes[0], sizes[1], {}, {}, false, true, flip, 1};
    rise.gain = static_cast<double>(up * up);
    const int64_t taps = fu.numel(), last = fd.numel();
    const auto place = [&](int64_t in, int64_t before, int64_t after, Axis& to, Axis& from) {
      const int64_t fine = in * up + before + after - taps + 1;
      STD_TORCH_CHECK(fine >= last, "ganops: the filters of filtered_lrelu are longer than the padded image");
      to = {in, fine, up, 1, before, taps};
      from = {fine, (fine - last) / down + 1, 1, down, 0, last};
    };
    place(sizes[3], padding[0], padding[1], rise.x, fall.x);
    place(sizes[2], padding[2], padding[3], rise.y, fall.y);
  }

  static Resampling adjoint(const Resampling& how) {
    const auto turned = [](const Axis& a) { return Axis{a.out, a.in, a.down, a.up, a.taps - 1 - a.padding, a.taps}; };
    Resampling result = how;
    result.x = turned(how.x), result.y = turned(how.y), result.flip = !how.flip;
    return result;
  }

  Tensor allocate(const Axis& y, const Axis& x_axis) const { return Planes(x).allocate(x, y.out, x_axis.out); }
};

// Runs the kernel on a result that has elements, or on sums that there are.
void run(const Target& target, const FilteredLrelu& how, const Arguments& of, const Tensor* second,
         const Tensor* second_bias, bool rising, void* out, void* sums) {
  LreluInputs in{};
  in.x = input(of.x, "x"), in.bias = input(of.bias, "b"), in.up_filter = input(of.up_filter, "up_filter");
  const void* const down = input(of.down_filter, "down_filter");
  if (second) in.second = input(*second, "second"), in.second_filter = rising ? in.up_filter : down;
  if (second_bias) in.second_bias = input(*second_bias, "second_bias");
  in.down_filter = second && !rising ? in.up_filter : down;
  const auto& kernels = GANOPS_KERNELS(filtered_lrelu);
  Workspace workspace(of.x, sums ? kernels.workspace(dtype_of(of.x), how) : 0);
  kernels.apply(target.stream(), dtype_of(of.x), how, in, out, sums, workspace.data());
}

Tensor filtered_lrelu(const Tensor& x, const Tensor& b, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down,
                      const Numbers& padding, double gain, double slope, double clamp, bool flip) {
  const Target target("filtered_lrelu", x.get_device_index());
  const Arguments of(x, b, fu, fd, up, down, padding, gain, slope, clamp, flip);
  Tensor result = of.allocate(of.fall.y, of.fall.x);
  void* out = output(result, "result");
  if (result.numel() > 0)
    run(target, {of.rise, {}, of.fall, gain, slope, clamp}, of, nullptr, nullptr, true, out, nullptr);
  return result;
}

Tensor filtered_lrelu_slope(const Tensor& direction, const Tensor& b_direction, const Tensor& x, const Tensor& b,
                            const Tensor& fu, const Tensor& fd, int64_t up, int64_t down, const Numbers& padding,
                            double gain, double slope, double clamp, bool flip) {
  check_same(direction, x);
  check_same(b_direction, b);
  const Target target("filtered_lrelu_slope", x.get_device_index());
  const Arguments of(x, b, fu, fd, up, down, padding, gain, slope, clamp, flip);
  const Tensor second = as_contiguous(direction), second_bias = as_contiguous(b_direction);
  Tensor result = of.allocate(of.fall.y, of.fall.x);
  void* out = output(result, "result");
  if (result.numel() > 0) {
    run(target, {of.rise, of.rise, of.fall, gain, slope, clamp}, of, &second, &second_bias, true, out, nullptr);
  }
  return result;
}

std::tuple<Tensor, Tensor> filtered_lrelu_backward(const Tensor& grad, const Tensor& x, const Tensor& b,
                                                   const Tensor& fu, const Tensor& fd, int64_t up, int64_t down,
                                                   const Numbers& padding, double gain, double slope, double clamp,
                                                   bool flip) {
  check_same(grad, x, false);
  const Target target("filtered_lrelu_backward", x.get_device_index());
  const Arguments of(x, b, fu, fd, up, down, padding, gain, slope, clamp, flip);
  STD_TORCH_CHECK(grad.dim() == 4 && grad.sizes()[0] == x.sizes()[0] && grad.sizes()[1] == x.sizes()[1] &&
                      grad.sizes()[2] == of.fall.y.out && grad.sizes()[3] == of.fall.x.out,
                  "ganops: the gradient must have the shape of the result");
  const Tensor above = as_contiguous(grad);
  const Resampling back = Arguments::adjoint(of.rise), forth = Arguments::adjoint(of.fall);
  Tensor grad_x = of.allocate(back.y, back.x), grad_b = empty_vector(b, b.numel(), raw_dtype(b));
  void *out = output(grad_x, "grad_x"), *sums = output(grad_b, "grad_b");
  if (b.numel() > 0) {
    run(target, {of.rise, forth, back, gain, slope, clamp}, of, &above, nullptr, false, out, sums);
  }
  return {grad_x, grad_b};
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("filtered_lrelu", TORCH_BOX(&filtered_lrelu));
  m.impl("filtered_lrelu_slope", TORCH_BOX(&filtered_lrelu_slope));
  m.impl("filtered_lrelu_backward", TORCH_BOX(&filtered_lrelu_backward));
}

}  // namespace ganops
