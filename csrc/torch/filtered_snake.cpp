// The anti-aliased Snake as torch operators; the schemas are in schemas.cpp.
#include "planes.h"

namespace ganops {
namespace {

// The arguments that all three operators take.
struct Arguments {
  SnakeShape shape;
  Tensor x;
  SnakeInputs in;

  Arguments(const Tensor& signal, const Tensor& alpha, const Tensor& q, const Tensor& up, const Tensor& down,
            int64_t ratio)
      : x(as_contiguous(signal)) {
    STD_TORCH_CHECK(signal.dim() == 3, "ganops: x must be (N, C, T)");
    const auto sizes = signal.sizes();
    for (const Tensor* t : {&alpha, &q, &up, &down}) {
      STD_TORCH_CHECK(t->dim() == 1 && t->is_contiguous() && raw_dtype(*t) == accumulate_dtype(signal) &&
                          t->get_device_index() == signal.get_device_index(),
                      "ganops: alpha, q and the filters must be contiguous vectors in the accumulation dtype");
    }
    STD_TORCH_CHECK(alpha.numel() == sizes[1] && q.numel() == sizes[1], "ganops: alpha and q must be of each channel");
    for (const Tensor* filter : {&up, &down}) {
      STD_TORCH_CHECK(
          ratio >= 1 && ratio <= most_snake_ratio && filter->numel() >= 1 && filter->numel() <= most_snake_taps,
          "ganops: filtered_snake takes ratios of 1 to ", most_snake_ratio, " and filters of 1 to ", most_snake_taps,
          " taps");
    }
    shape = {sizes[0],
             sizes[1],
             sizes[2],
             static_cast<int>(ratio),
             static_cast<int>(up.numel()),
             static_cast<int>(down.numel())};
    in = {nullptr, nullptr, nullptr, nullptr, nullptr};
  }

  Tensor empty_signal() const { return Planes(x).allocate(x, 1, x.sizes()[2]); }
  Tensor empty_parameter(const Tensor& like) const { return empty_vector(like, like.numel(), raw_dtype(like)); }

  // In the scope of a Target.
  const SnakeInputs& inputs(const Tensor& alpha, const Tensor& q, const Tensor& up, const Tensor& down) {
    in = {input(x, "x"), input(alpha, "alpha"), input(q, "q"), input(up, "up_filter"), input(down, "down_filter")};
    return in;
  }
};

Tensor filtered_snake(const Tensor& x, const Tensor& alpha, const Tensor& q, const Tensor& up, const Tensor& down,
                      int64_t ratio) {
  const Target target("filtered_snake", x.get_device_index());
  Arguments arguments(x, alpha, q, up, down, ratio);
  Tensor result = arguments.empty_signal();
  void* out = output(result, "result");
  if (result.numel() > 0) {
    GANOPS_KERNELS(filtered_snake)
        .forward(target.stream(), dtype_of(x), arguments.shape, arguments.inputs(alpha, q, up, down), out);
  }
  return result;
}

std::tuple<Tensor, Tensor, Tensor> filtered_snake_backward(const Tensor& grad, const Tensor& x, const Tensor& alpha,
                                                           const Tensor& q, const Tensor& up, const Tensor& down,
                                                           int64_t ratio) {
  check_same(grad, x);
  const Target target("filtered_snake_backward", x.get_device_index());
  Arguments arguments(x, alpha, q, up, down, ratio);
  const Tensor above = as_contiguous(grad);
  const auto& kernels = GANOPS_KERNELS(filtered_snake);
  Tensor grad_x = arguments.empty_signal();
  Tensor grad_alpha = arguments.empty_parameter(alpha), grad_q = arguments.empty_parameter(q);
  const SnakeGradients out{output(grad_x, "grad_x"), output(grad_alpha, "grad_alpha"), output(grad_q, "grad_q")};
  if (alpha.numel() > 0) {
    Workspace workspace(x, kernels.workspace(dtype_of(x), arguments.shape));
    kernels.backward(target.stream(), dtype_of(x), arguments.shape, input(above, "grad"),
                     arguments.inputs(alpha, q, up, down), out, workspace.data());
  }
  return {grad_x, grad_alpha, grad_q};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> filtered_snake_double_backward(
    const Tensor& tangent_x, const Tensor& tangent_alpha, const Tensor& tangent_q, const Tensor& grad, const Tensor& x,
    const Tensor& alpha, const Tensor& q, const Tensor& up, const Tensor& down, int64_t ratio) {
  check_same(grad, x);
  check_same(tangent_x, x);
  check_same(tangent_alpha, alpha);
  check_same(tangent_q, q);
  const Target target("filtered_snake_double_backward", x.get_device_index());
  Arguments arguments(x, alpha, q, up, down, ratio);
  const Tensor above = as_contiguous(grad), along = as_contiguous(tangent_x);
  const Tensor along_alpha = as_contiguous(tangent_alpha), along_q = as_contiguous(tangent_q);
  const auto& kernels = GANOPS_KERNELS(filtered_snake);
  Tensor grad_grad = arguments.empty_signal(), grad_x = arguments.empty_signal();
  Tensor grad_alpha = arguments.empty_parameter(alpha), grad_q = arguments.empty_parameter(q);
  void* grad_out = output(grad_grad, "grad_grad");
  const SnakeGradients out{output(grad_x, "grad_x"), output(grad_alpha, "grad_alpha"), output(grad_q, "grad_q")};
  if (alpha.numel() > 0) {
    const SnakeTangents tangents{input(along, "tangent_x"), input(along_alpha, "tangent_alpha"),
                                 input(along_q, "tangent_q")};
    Workspace workspace(x, kernels.workspace(dtype_of(x), arguments.shape));
    kernels.double_backward(target.stream(), dtype_of(x), arguments.shape, tangents, input(above, "grad"),
                            arguments.inputs(alpha, q, up, down), grad_out, out, workspace.data());
  }
  return {grad_grad, grad_x, grad_alpha, grad_q};
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("filtered_snake", TORCH_BOX(&filtered_snake));
  m.impl("filtered_snake_backward", TORCH_BOX(&filtered_snake_backward));
  m.impl("filtered_snake_double_backward", TORCH_BOX(&filtered_snake_double_backward));
}

}  // namespace ganops
