// bias_act as torch operators; the schemas are in schemas.cpp.
#include <cmath>
#include <limits>
#include <sstream>

#include "../kernels/bias_act.h"
#include "../math/bias_act.h"
#include "tensors.h"

GANOPS_DECLARE_KERNELS(BiasActKernels, bias_act)

// The table of activations, for Python: one line each, in the order of their numbers: the name, what backward reads,
// whether the second derivative is not zero, and the defaults of alpha and gain.
extern "C" __attribute__((visibility("default"))) const char* ganops_activations() {
  using namespace ganops;
  static const std::string text = [] {
    std::ostringstream out;
    for (int64_t number = 0; number < activation_count; ++number) {
      with_activation(static_cast<Activation>(number), [&](auto activation) {
        using Of = decltype(activation);
        out << activation_names[number] << (Of::kept == Kept::result ? " result" : " input")
            << (Of::curved ? " curved " : " flat ") << Of::alpha << ' ' << Of::gain << '\n';
      });
    }
    return out.str();
  }();
  return text.c_str();
}

namespace ganops {
namespace {

using Optional = std::optional<Tensor>;

Kept kept(Activation activation) {
  Kept found = Kept::result;
  with_activation(activation, [&](auto of) { found = decltype(of)::kept; });
  return found;
}

bool curved(Activation activation) {
  bool found = false;
  with_activation(activation, [&](auto of) { found = decltype(of)::curved; });
  return found;
}

BiasAct setting(int64_t activation, double alpha, double gain, const std::optional<double>& clamp) {
  STD_TORCH_CHECK(activation >= 0 && activation < activation_count, "ganops: no activation has this number");
  STD_TORCH_CHECK(alpha >= 0, "ganops: alpha must not be negative");
  return {
      {},   static_cast<Activation>(activation), alpha, gain, clamp ? *clamp : std::numeric_limits<double>::quiet_NaN(),
      false};
}

// How the dense x is read, if there is something for each channel.
Channels channels_of(const Tensor& x, int64_t dim) {
  STD_TORCH_CHECK(dim >= 0 && dim < x.dim(), "ganops: x has no such dimension");
  const int64_t channels = x.sizes()[dim];
  if (x.numel() == 0) return {0, channels, 1};
  if (channels == 1) return {1, 1, x.numel()};
  const int64_t inner = x.stride(dim);
  return {x.numel() / (channels * inner), channels, inner};
}

// A number for each channel, in one of the two dtypes, as contiguous memory.
Optional numbers_of(const Optional& b, const Tensor& x, const Channels& shape, bool& wide) {
  if (!b) return {};
  wide = raw_dtype(*b) == accumulate_dtype(x);
  STD_TORCH_CHECK(b->dim() == 1 && b->numel() == shape.channels && (wide || raw_dtype(*b) == raw_dtype(x)) &&
                      b->get_device_index() == x.get_device_index(),
                  "ganops: b must have a number for each channel, in the dtype of x or in that of sums");
  return as_contiguous(*b);
}

const void* optional_input(const Optional& tensor, const char* name) { return tensor ? input(*tensor, name) : nullptr; }

// The tensor that backward reads, and the layout of all: dense.
struct Read {
  Optional reference;
  Tensor grad;

  Read(const BiasAct& how, const Tensor& above, const Optional& given, const Optional& b)
      : reference(given ? Optional(dense(*given)) : Optional()), grad(above) {
    STD_TORCH_CHECK(given || (how.activation == Activation::linear && std::isnan(how.clamp)),
                    "ganops: the derivative of this activation needs the result or x");
    STD_TORCH_CHECK(!b || kept(how.activation) == Kept::input, "ganops: this activation's derivative needs no b");
    if (given) check_same(above, *given);
    grad = reference ? laid_out_as(above, *reference) : dense(above);
  }

  // Results have the layout of this tensor. grad has the same, except strides of dimensions of size 0 or 1.
  const Tensor& like() const { return reference ? *reference : grad; }
};

Tensor bias_act(const Tensor& x, const Optional& b, int64_t dim, int64_t activation, double alpha, double gain,
                const std::optional<double>& clamp) {
  BiasAct how = setting(activation, alpha, gain, clamp);
  const Tensor in = dense(x);
  how.shape = b ? channels_of(in, dim) : Channels{1, 1, x.numel()};
  const Optional numbers = numbers_of(b, x, how.shape, how.wide);
  const Target target("bias_act", x.get_device_index());
  Tensor result = empty_as(in);
  void* out = output(result, "result");
  if (result.numel() > 0) {
    GANOPS_KERNELS(bias_act).forward(target.stream(), dtype_of(in), how, input(in, "x"), optional_input(numbers, "b"),
                                     out);
  }
  return result;
}

// Where the sum over everything but the channels goes; null where none is wanted.
void* sum_of(Tensor& sum, const char* name) { return sum.numel() > 0 ? output(sum, name) : nullptr; }

std::tuple<Tensor, Tensor> bias_act_backward(const Tensor& grad, const Optional& reference, const Optional& b,
                                             int64_t dim, int64_t activation, double alpha, double gain,
                                             const std::optional<double>& clamp, int64_t sum) {
  STD_TORCH_CHECK(sum >= 0 && sum <= 2, "ganops: sum must be 0, 1 or 2");
  BiasAct how = setting(activation, alpha, gain, clamp);
  const Target target("bias_act_backward", grad.get_device_index());
  const Read read(how, grad, reference, b);
  const Tensor& like = read.like();
  how.shape = b || sum ? channels_of(like, dim) : Channels{1, 1, like.numel()};
  const Optional numbers = numbers_of(b, like, how.shape, how.wide);
  const bool wide = sum == 2;
  STD_TORCH_CHECK(!b || !sum || wide == how.wide || raw_dtype(like) == accumulate_dtype(like),
                  "ganops: the gradient of b has the dtype of b");
  how.wide = sum ? wide : how.wide;
  Tensor result = empty_as(like);
  Tensor total = empty_vector(like, sum ? how.shape.channels : 0, wide ? accumulate_dtype(like) : raw_dtype(like));
  void *out = output(result, "grad_x"), *summed = sum_of(total, "grad_b");
  if (like.numel() > 0 || summed) {
    const auto& kernels = GANOPS_KERNELS(bias_act);
    Workspace workspace(like, summed ? kernels.workspace(how.shape) : 0);
    kernels.backward(target.stream(), dtype_of(like), how, input(read.grad, "grad"),
                     optional_input(read.reference, "reference"), optional_input(numbers, "b"), out, summed,
                     workspace.data());
  }
  return {result, total};
}

std::tuple<Tensor, Tensor, Tensor> bias_act_double_backward(const Optional& tangent, const Optional& tangent_b,
                                                            const Tensor& grad, const Optional& reference,
                                                            const Optional& b, int64_t dim, int64_t activation,
                                                            double alpha, double gain,
                                                            const std::optional<double>& clamp) {
  BiasAct how = setting(activation, alpha, gain, clamp);
  const Target target("bias_act_double_backward", grad.get_device_index());
  const Read read(how, grad, reference, b);
  const Tensor& like = read.like();
  if (tangent) check_same(*tangent, grad);
  how.shape = b || tangent_b ? channels_of(like, dim) : Channels{1, 1, like.numel()};
  bool wide = false;
  const Optional numbers = numbers_of(b, like, how.shape, wide);
  const Optional along_b = numbers_of(tangent_b, like, how.shape, how.wide);
  STD_TORCH_CHECK(!b || !tangent_b || wide == how.wide, "ganops: the tangent of b has the dtype of b");
  how.wide = b ? wide : how.wide;
  Optional along;
  if (tangent) along = laid_out_as(*tangent, like);
  const bool second = read.reference && curved(how.activation);
  const int64_t none = 0, stride = 1;
  Tensor grad_out = empty_as(like);
  Tensor reference_out = second ? empty_as(like) : empty(like, 1, &none, &stride, raw_dtype(like));
  Tensor total = empty_vector(like, b ? how.shape.channels : 0, b ? raw_dtype(*b) : raw_dtype(like));
  void *out = output(grad_out, "grad_grad"), *summed = sum_of(total, "grad_b");
  void* other = second ? output(reference_out, "grad_reference") : nullptr;
  if (like.numel() > 0 || summed) {
    const auto& kernels = GANOPS_KERNELS(bias_act);
    Workspace workspace(like, summed ? kernels.workspace(how.shape) : 0);
    kernels.double_backward(target.stream(), dtype_of(like), how, optional_input(along, "tangent"),
                            optional_input(along_b, "tangent_b"), input(read.grad, "grad"),
                            optional_input(read.reference, "reference"), optional_input(numbers, "b"), out, other,
                            summed, workspace.data());
  }
  return {grad_out, reference_out, total};
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("bias_act", TORCH_BOX(&bias_act));
  m.impl("bias_act_backward", TORCH_BOX(&bias_act_backward));
  m.impl("bias_act_double_backward", TORCH_BOX(&bias_act_double_backward));
}

}  // namespace ganops
