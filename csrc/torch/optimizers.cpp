// Optimisers as torch operators; the schemas are in schemas.cpp.
#include "../kernels/optimizers.h"

#include <limits>

#include "tensors.h"

GANOPS_DECLARE_KERNELS(OptimizersKernels, optimizers)

namespace ganops {
namespace {

using Tensors = std::vector<Tensor>;

#if defined(GANOPS_BACKEND_CUDA)
constexpr bool has_device_steps = true;
#else
constexpr bool has_device_steps = false;  // the host's memory is the tensors' own
#endif

// Tensors in the layout that their weights have. What lies otherwise is worked on in a copy, and written back.
class Laid {
 public:
  void* data(const Tensor& tensor, const Tensor& weight, const char* name, bool written) {
    if (same_layout(tensor, weight)) return written ? in_place(tensor, name) : const_cast<void*>(input(tensor, name));
    const Tensor copy = laid_out_as(tensor, weight);
    if (written) copies_.emplace_back(tensor, copy);
    kept_.push_back(copy);
    return in_place(copy, name);
  }

  // A weight itself: dense, in its own layout or in that of a copy.
  Tensor weight(const Tensor& tensor) {
    if (is_dense(tensor)) return tensor;
    const Tensor copy = dense(tensor);
    copies_.emplace_back(tensor, copy);
    return copy;
  }

  void write_back() const {
    for (const auto& [original, copy] : copies_) copy_to(original, copy);
  }

 private:
  std::vector<std::pair<Tensor, Tensor>> copies_;
  Tensors kept_;
};

void check_numbers(const std::optional<Tensor>& number, const Tensor& like) {
  if (!number) return;
  STD_TORCH_CHECK(number->scalar_type() == ScalarType::Float && number->numel() == 1 &&
                      number->get_device_index() == like.get_device_index() && number->is_cpu() == like.is_cpu(),
                  "ganops: an optimiser's numbers must be float32, on the weights' device");
}

const float* number_at(const std::optional<Tensor>& number, const char* name) {
  return number ? static_cast<const float*>(input(*number, name)) : nullptr;
}

bool overlaps_itself(const Tensor& tensor) {
  const auto sizes = tensor.sizes(), strides = tensor.strides();
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] > 1 && strides[i] == 0) return true;
  }
  return false;
}

// Whether any two entries of a list share memory. Their steps then follow each other, since threads must not meet
// there.
bool share_memory(const Tensors& tensors) {
  std::vector<std::pair<const char*, const char*>> stretches;
  stretches.reserve(tensors.size());
  for (const Tensor& tensor : tensors) {
    if (tensor.numel() == 0) continue;
    int64_t last = 0;
    const auto sizes = tensor.sizes(), strides = tensor.strides();
    for (size_t i = 0; i < sizes.size(); ++i) last += (sizes[i] - 1) * strides[i];
    const char* begin = static_cast<const char*>(tensor.const_data_ptr());
    stretches.emplace_back(begin, begin + (last + 1) * tensor.element_size());
  }
  std::sort(stretches.begin(), stretches.end());
  for (size_t i = 1; i < stretches.size(); ++i) {
    if (stretches[i].first < stretches[i - 1].second) return true;
  }
  return false;
}

double host_step(const Tensor& step) {
  return step.scalar_type() == ScalarType::Float ? double(*static_cast<const float*>(step.const_data_ptr()))
                                                 : *static_cast<const double*>(step.const_data_ptr());
}

bool of_kind(const Tensors& list, int32_t dtype, int32_t device, bool cpu) {
  return std::all_of(list.begin(), list.end(), [&](const Tensor& tensor) {
    return raw_dtype(tensor) == dtype && tensor.get_device_index() == device && tensor.is_cpu() == cpu;
  });
}

// The step of one group. Everything is checked before anything is written. Returns false, and does nothing, if weights,
// gradients and state are not all of one dtype and device, or if a number of steps is of a kind that kernels do not
// count in.
bool update(const char* op, const Tensors& weights, const Tensors& gradients, const Tensors* const (&states)[3],
            const Tensors& steps, OptimizerSettings settings, const std::optional<Tensor>& lr,
            const std::optional<Tensor>& grad_scale, const std::optional<Tensor>& found_inf, bool steps_on_device) {
  if (weights.empty()) return true;
  const size_t count = weights.size();
  const Tensor& like = weights[0];
  const int32_t dtype = raw_dtype(like), device = like.get_device_index();
  const bool host = !(has_device_steps && steps_on_device);
  for (const Tensors* list : {&weights, &gradients, states[0], states[1], states[2]}) {
    if (list != nullptr && !of_kind(*list, dtype, device, like.is_cpu())) return false;
  }
  for (const Tensor& step : steps) {
    const auto kind = step.scalar_type();
    if (kind != ScalarType::Float && !(host && kind == ScalarType::Double)) return false;
    if (host ? !step.is_cpu() : step.get_device_index() != device || step.is_cpu() != like.is_cpu()) return false;
  }
  const DType type = dtype_of(like);
  const Target target(op, device);

  const auto check_list = [&](const Tensors& list) {
    STD_TORCH_CHECK(list.size() == count, "ganops: an optimiser's lists must have one length");
    for (size_t i = 0; i < count; ++i) {
      STD_TORCH_CHECK(list[i].dim() == weights[i].dim() &&
                          std::equal(list[i].sizes().begin(), list[i].sizes().end(), weights[i].sizes().begin()),
                      "ganops: weights, gradients and state must have one shape");
    }
  };
  check_list(weights);
  check_list(gradients);
  for (const Tensor& gradient : gradients) {
    STD_TORCH_CHECK(!grad_scale || !overlaps_itself(gradient),
                    "ganops: the elements of a gradient that is to be unscaled must not share memory");
  }
  for (const Tensor& weight : weights) {
    STD_TORCH_CHECK(!overlaps_itself(weight), "ganops: a weight's elements must not share memory");
  }
  for (const Tensors* state : states) {
    if (state == nullptr) continue;
    check_list(*state);
    for (const Tensor& tensor : *state) {
      STD_TORCH_CHECK(!overlaps_itself(tensor), "ganops: a state's elements must not share memory");
    }
  }
  STD_TORCH_CHECK(steps.size() == count, "ganops: an optimiser's lists must have one length");
  for (const Tensor& step : steps) {
    STD_TORCH_CHECK(step.numel() == 1, "ganops: a number of steps must have one element");
  }
  check_numbers(lr, like);
  check_numbers(grad_scale, like);
  check_numbers(found_inf, like);
  STD_TORCH_CHECK(!has_device_steps || !host || (!lr && !found_inf),
                  "ganops: on a card, what it alone knows of a step goes with numbers of steps that it holds");

  if (count > 1 && share_memory(weights)) {
    for (size_t i = 0; i < count; ++i) {
      Tensors kept[3];
      const Tensors* state[3];
      for (int s = 0; s < 3; ++s) {
        if (states[s] != nullptr) kept[s] = {(*states[s])[i]};
        state[s] = states[s] != nullptr ? &kept[s] : nullptr;
      }
      update(op, {weights[i]}, {gradients[i]}, {state[0], state[1], state[2]}, {steps[i]}, settings, lr, grad_scale,
             found_inf, steps_on_device);
    }
    return true;
  }

  if constexpr (!has_device_steps) {
    if (found_inf && *static_cast<const float*>(found_inf->const_data_ptr()) != 0) return true;
  }
  settings.lr_at = number_at(lr, "lr");
  settings.grad_scale = number_at(grad_scale, "grad_scale");
  settings.found_inf = has_device_steps ? number_at(found_inf, "found_inf") : nullptr;

  Laid laid;
  std::vector<OptimizerTensor> entries(count);
  for (size_t i = 0; i < count; ++i) {
    OptimizerTensor& entry = entries[i];
    const Tensor weight = laid.weight(weights[i]);
    entry.count = weight.numel();
    entry.weight = in_place(weight, "weights");
    entry.gradient = laid.data(gradients[i], weight, "gradients", grad_scale.has_value());
    for (int s = 0; s < 3; ++s) {
      entry.state[s] = states[s] != nullptr ? laid.data((*states[s])[i], weight, "state", true) : nullptr;
    }
    entry.device_step = host ? nullptr : static_cast<float*>(in_place(steps[i], "steps"));
    entry.step = host ? host_step(steps[i]) + 1 : 0;
  }
  GANOPS_KERNELS(optimizers).update(target.stream(), type, entries.data(), entries.size(), settings);
  laid.write_back();
  if (!host) return true;
  for (size_t i = 0; i < count; ++i) {
    void* data = steps[i].mutable_data_ptr();
    if (steps[i].scalar_type() == ScalarType::Float) {
      *static_cast<float*>(data) = static_cast<float>(entries[i].step);
    } else {
      *static_cast<double*>(data) = entries[i].step;
    }
  }
  return true;
}

double limit_of(std::optional<double> clip) { return clip ? *clip : std::numeric_limits<double>::infinity(); }

const Tensors* if_any(const Tensors& list) { return list.empty() ? nullptr : &list; }

bool adam_(const Tensors& weights, const Tensors& gradients, const Tensors& means, const Tensors& squares,
           const Tensors& largest, const Tensors& steps, double lr, double beta1, double beta2, double eps,
           double weight_decay, bool decoupled, bool maximize, std::optional<double> clip, bool steps_on_device,
           std::optional<Tensor> lr_tensor, std::optional<Tensor> grad_scale, std::optional<Tensor> found_inf) {
  OptimizerSettings settings{};
  settings.rule = Rule::adam;
  settings.lr = lr;
  settings.beta1 = beta1;
  settings.beta2 = beta2;
  settings.eps = eps;
  settings.decay = weight_decay;
  settings.limit = limit_of(clip);
  settings.maximize = maximize;
  settings.decoupled = decoupled;
  return update("adam_", weights, gradients, {&means, &squares, if_any(largest)}, steps, settings, lr_tensor,
                grad_scale, found_inf, steps_on_device);
}

bool rmsprop_(const Tensors& weights, const Tensors& gradients, const Tensors& squares, const Tensors& averages,
              const Tensors& momenta, const Tensors& steps, double lr, double alpha, double eps, double weight_decay,
              double momentum, bool maximize, std::optional<double> clip, bool steps_on_device,
              std::optional<Tensor> lr_tensor, std::optional<Tensor> grad_scale, std::optional<Tensor> found_inf) {
  OptimizerSettings settings{};
  settings.rule = Rule::rmsprop;
  settings.lr = lr;
  settings.beta2 = alpha;
  settings.eps = eps;
  settings.decay = weight_decay;
  settings.momentum = momentum;
  settings.limit = limit_of(clip);
  settings.maximize = maximize;
  return update("rmsprop_", weights, gradients, {&squares, if_any(averages), if_any(momenta)}, steps, settings,
                lr_tensor, grad_scale, found_inf, steps_on_device);
}

// The arguments of an operator, and false: for lists with a negated view, whose elements are not in memory as they are
// to be read.
template <auto function>
struct Refusal;
template <class... Arguments, bool (*function)(Arguments...)>
struct Refusal<function> {
  static bool call(Arguments...) { return false; }
};

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("adam_", TORCH_BOX(&adam_));
  m.impl("rmsprop_", TORCH_BOX(&rmsprop_));
}

#if !defined(GANOPS_BACKEND_CUDA) || defined(GANOPS_EMULATED)
STABLE_TORCH_LIBRARY_IMPL(ganops, Negative, m) {
  m.impl("adam_", TORCH_BOX(&Refusal<&adam_>::call));
  m.impl("rmsprop_", TORCH_BOX(&Refusal<&rmsprop_>::call));
}
#endif

}  // namespace ganops
