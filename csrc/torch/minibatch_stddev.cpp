// Minibatch standard deviation as torch operators; the schemas are in schemas.cpp.
#include "../kernels/minibatch_stddev.h"

#include "tensors.h"

GANOPS_DECLARE_KERNELS(MinibatchStddevKernels, minibatch_stddev)

namespace ganops {
namespace {

// x in planes, or where its channels lie side by side, in that order.
struct Layout : Groups {
  bool channels_last;

  Layout(const Tensor& x, int64_t group) {
    STD_TORCH_CHECK(x.dim() >= 2, "ganops: x must be (N, C, ...)");
    const auto sizes = x.sizes();
    STD_TORCH_CHECK(group >= 1 && sizes[0] % group == 0, "ganops: groups must divide the batch");
    int64_t pixels = 1;
    for (int64_t i = 2; i < x.dim(); ++i) pixels *= sizes[i];
    channels_last = !x.is_contiguous() && is_channels_last(x);
    samples = sizes[0], this->group = group;
    rows = channels_last ? pixels : 1;
    row = channels_last ? sizes[1] : sizes[1] * pixels;
    tail = channels_last ? 1 : pixels;
  }

  // Uninitialised, in this layout, with so many channels.
  Tensor allocate(const Tensor& like, int64_t channels) const {
    const int64_t dim = like.dim();
    std::vector<int64_t> sizes(like.sizes().begin(), like.sizes().end()), strides(dim);
    sizes[1] = channels;
    int64_t stride = 1;
    const auto next = [&](int64_t dimension) {
      strides[dimension] = stride;
      stride *= std::max<int64_t>(sizes[dimension], 1);
    };
    if (channels_last) next(1);
    for (int64_t i = dim - 1; i > 1; --i) next(i);
    if (!channels_last) next(1);
    next(0);
    return empty(like, dim, sizes.data(), strides.data(), raw_dtype(like));
  }

  // The tensor, or a copy, in this layout.
  Tensor laid_out(const Tensor& tensor) const {
    const bool so = channels_last ? !tensor.is_contiguous() && is_channels_last(tensor) : tensor.is_contiguous();
    return so ? tensor : copy_to(allocate(tensor, tensor.sizes()[1]), tensor);
  }
};

void check_grad(const Tensor& grad, const Tensor& x) {
  check_same(grad, x, false);
  bool same = grad.dim() == x.dim();
  for (int64_t i = 0; same && i < x.dim(); ++i) same = grad.sizes()[i] == x.sizes()[i] + (i == 1);
  STD_TORCH_CHECK(same, "ganops: the gradient must have one channel more than x");
}

Tensor minibatch_stddev(const Tensor& x, int64_t group) {
  const Layout layout(x, group);
  const Target target("minibatch_stddev", x.get_device_index());
  const Tensor in = layout.laid_out(x);
  const auto& kernels = GANOPS_KERNELS(minibatch_stddev);
  Tensor result = layout.allocate(x, x.sizes()[1] + 1);
  void* out = output(result, "result");
  if (result.numel() > 0) {
    Workspace workspace(in, kernels.workspace(layout));
    kernels.forward(target.stream(), dtype_of(in), layout, input(in, "x"), out, workspace.data());
  }
  return result;
}

Tensor minibatch_stddev_backward(const Tensor& grad, const Tensor& x, int64_t group) {
  const Layout layout(x, group);
  check_grad(grad, x);
  const Target target("minibatch_stddev_backward", x.get_device_index());
  const Tensor in = layout.laid_out(x), above = layout.laid_out(grad);
  const auto& kernels = GANOPS_KERNELS(minibatch_stddev);
  Tensor result = layout.allocate(x, x.sizes()[1]);
  void* out = output(result, "grad_x");
  if (result.numel() > 0) {
    Workspace workspace(in, kernels.workspace(layout));
    kernels.backward(target.stream(), dtype_of(in), layout, input(above, "grad"), input(in, "x"), out,
                     workspace.data());
  }
  return result;
}

std::tuple<Tensor, Tensor> minibatch_stddev_double_backward(const Tensor& tangent, const Tensor& grad, const Tensor& x,
                                                            int64_t group) {
  const Layout layout(x, group);
  check_grad(grad, x);
  check_same(tangent, x);
  const Target target("minibatch_stddev_double_backward", x.get_device_index());
  const Tensor in = layout.laid_out(x), above = layout.laid_out(grad), along = layout.laid_out(tangent);
  const auto& kernels = GANOPS_KERNELS(minibatch_stddev);
  Tensor grad_out = layout.allocate(x, x.sizes()[1] + 1), x_out = layout.allocate(x, x.sizes()[1]);
  void *out = output(grad_out, "grad_grad"), *second = output(x_out, "grad_x");
  if (grad_out.numel() > 0) {
    Workspace workspace(in, kernels.workspace(layout));
    kernels.double_backward(target.stream(), dtype_of(in), layout, input(along, "tangent"), input(above, "grad"),
                            input(in, "x"), out, second, workspace.data());
  }
  return {grad_out, x_out};
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("minibatch_stddev", TORCH_BOX(&minibatch_stddev));
  m.impl("minibatch_stddev_backward", TORCH_BOX(&minibatch_stddev_backward));
  m.impl("minibatch_stddev_double_backward", TORCH_BOX(&minibatch_stddev_double_backward));
}

}  // namespace ganops
