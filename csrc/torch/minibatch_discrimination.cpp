// Minibatch discrimination as torch operators; the schemas are in schemas.cpp.
#include "../kernels/minibatch_discrimination.h"

#include "tensors.h"

GANOPS_DECLARE_KERNELS(MinibatchDiscriminationKernels, minibatch_discrimination)

namespace ganops {
namespace {

using MaybeTensor = std::optional<Tensor>;

Comparisons comparisons_of(const Tensor& m, const MaybeTensor& tangents) {
  STD_TORCH_CHECK(m.dim() == 3, "ganops: m must be (comparisons, dimensions, samples)");
  const auto sizes = m.sizes();
  Comparisons all{sizes[0], sizes[1], sizes[2], 0};
  if (tangents) {
    check_same(*tangents, m, false);
    STD_TORCH_CHECK(tangents->dim() == 4 && std::equal(sizes.begin(), sizes.end(), tangents->sizes().begin() + 1),
                    "ganops: tangents must be (count, comparisons, dimensions, samples)");
    all.tangents = tangents->sizes()[0];
  }
  return all;
}

void check_grad(const Tensor& grad, const Tensor& m, const Comparisons& all) {
  check_same(grad, m, false);
  STD_TORCH_CHECK(grad.dim() == 2 && grad.sizes()[0] == all.samples && grad.sizes()[1] == all.count,
                  "ganops: the gradient of closeness must have its shape, (samples, comparisons)");
}

// Runs the kernel on contiguous copies where need be; a tensor that is not wanted is null.
void sums(const char* op, const Comparisons& all, const Tensor* grad, const Tensor& m, const MaybeTensor& tangents,
          const Tensor* closeness, const Tensor* slope) {
  const Target target(op, m.get_device_index());
  const Tensor points = as_contiguous(m);
  const Tensor along = tangents ? as_contiguous(*tangents) : points;
  const Tensor above = grad ? as_contiguous(*grad) : points;
  const auto& kernels = GANOPS_KERNELS(minibatch_discrimination);
  if (all.count * all.samples == 0) return;
  Workspace workspace(points, kernels.workspace(dtype_of(m), all, slope != nullptr));
  kernels.sums(target.stream(), dtype_of(m), all, input(points, "m"), tangents ? input(along, "tangents") : nullptr,
               grad ? input(above, "grad") : nullptr, closeness ? output(*closeness, "closeness") : nullptr,
               slope ? output(*slope, "slope") : nullptr, workspace.data());
}

Tensor empty_closeness(const Tensor& m, const Comparisons& all) {
  const int64_t sizes[] = {all.samples, all.count}, strides[] = {std::max<int64_t>(all.count, 1), 1};
  return empty(m, 2, sizes, strides, raw_dtype(m));
}

Tensor empty_slope(const Tensor& m, const Comparisons& all) {
  const int64_t sizes[] = {all.count, all.dimensions, all.samples};
  const int64_t row = std::max<int64_t>(all.samples, 1),
                strides[] = {std::max<int64_t>(all.dimensions, 1) * row, row, 1};
  return empty(m, 3, sizes, strides, raw_dtype(m));
}

Tensor minibatch_discrimination(const Tensor& m, const MaybeTensor& tangents) {
  const Comparisons all = comparisons_of(m, tangents);
  const Tensor closeness = empty_closeness(m, all);
  sums("minibatch_discrimination", all, nullptr, m, tangents, &closeness, nullptr);
  return closeness;
}

Tensor minibatch_discrimination_backward(const Tensor& grad, const Tensor& m, const MaybeTensor& tangents) {
  const Comparisons all = comparisons_of(m, tangents);
  check_grad(grad, m, all);
  const Tensor slope = empty_slope(m, all);
  sums("minibatch_discrimination_backward", all, &grad, m, tangents, nullptr, &slope);
  return slope;
}

std::tuple<Tensor, Tensor> minibatch_discrimination_double_backward(const Tensor& grad, const Tensor& m,
                                                                    const Tensor& tangents) {
  const Comparisons all = comparisons_of(m, tangents);
  check_grad(grad, m, all);
  const Tensor closeness = empty_closeness(m, all), slope = empty_slope(m, all);
  sums("minibatch_discrimination_double_backward", all, &grad, m, tangents, &closeness, &slope);
  return {closeness, slope};
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("minibatch_discrimination", TORCH_BOX(&minibatch_discrimination));
  m.impl("minibatch_discrimination_backward", TORCH_BOX(&minibatch_discrimination_backward));
  m.impl("minibatch_discrimination_double_backward", TORCH_BOX(&minibatch_discrimination_double_backward));
}

}  // namespace ganops
