// Adversarial losses as torch operators; the schemas are in schemas.cpp, the mathematics in ../math/adversarial_loss.h.
#include "../math/adversarial_loss.h"

#include "tensors.h"

namespace ganops {
namespace {

using Parameter = std::optional<double>;  // none: the kind's own

// The choice that travels with every call: which formula, and how its values become the loss. As a number it is
// (kind · roles + role) · reductions + reduction. D's loss, in which two roles meet, has the first one's number there.
struct Choice {
  Kind kind;
  Role role;
  Reduction reduction;

  explicit Choice(int64_t number) {
    constexpr int64_t roles = static_cast<int64_t>(Role::count), reductions = 3;
    STD_TORCH_CHECK(number >= 0 && number < static_cast<int64_t>(Kind::count) * roles * reductions,
                    "ganops: no choice of kind, role and reduction has this number");
    reduction = static_cast<Reduction>(number % reductions);
    role = static_cast<Role>(number / reductions % roles);
    kind = static_cast<Kind>(number / reductions / roles);
  }

  LossSegment segment(const Tensor& logits, Role role, Parameter parameter, const char* name) const {
    const int64_t count = logits.numel();
    const double scale = reduction == Reduction::mean ? 1. / count : 1.;
    return {input(logits, name), count, term(kind, role, parameter.value_or(own_parameter(kind, role))), scale};
  }
};

// The two segments of D's loss; of a paired kind the one, with its partner.
LossSegments both(const Choice& choice, const Tensor& real, const Tensor& fake, Parameter real_parameter,
                  Parameter fake_parameter) {
  const bool paired = is_paired(choice.kind);
  return {{choice.segment(real, Role::real, real_parameter, "real"),
           choice.segment(fake, Role::fake, fake_parameter, "fake")},
          paired ? 1 : 2,
          paired};
}

// Whether D's loss is one number an element, as that of pairs may be.
bool each_pair(const Choice& choice) { return is_paired(choice.kind) && choice.reduction == Reduction::none; }

// The same logits as a dense partner of `real`.
Tensor beside(const Choice& choice, const Tensor& fake, const Tensor& real) {
  return is_paired(choice.kind) ? laid_out_as(fake, real) : dense(fake);
}

// For derivatives: no logits, no contribution, where the mean itself of no logits is NaN.
LossSegments contributing(LossSegments segments) {
  for (int s = 0; s < segments.count; ++s) {
    if (segments.segment[s].count == 0) segments.segment[s].scale = 0;
  }
  return segments;
}

// The gradient from above has the loss' shape: one element, or that of the logits.
void check_grad(const Tensor& grad, const Tensor& logits, bool per_element) {
  check_same(grad, logits, per_element);
  STD_TORCH_CHECK(per_element || grad.numel() == 1, "ganops: the gradient of a reduced loss must have one element");
}

using Sum = decltype(AdversarialLossKernels::sum);

Tensor sum(const LossSegments& segments, const Tensor& like, const Target& target,
           Sum AdversarialLossKernels::* kernel = &AdversarialLossKernels::sum) {
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  Tensor result = empty_scalar(like);
  Workspace workspace(like, kernels.workspace(segments));
  (kernels.*kernel)(target.stream(), dtype_of(like), segments, output(result, "loss"), workspace.data());
  return result;
}

Tensor adversarial_loss(const Tensor& logits, int64_t number, Parameter parameter) {
  const Choice choice(number);
  const Target target("adversarial_loss", logits.get_device_index());
  const Tensor x = dense(logits);
  LossSegment segment = choice.segment(x, choice.role, parameter, "logits");
  if (choice.reduction != Reduction::none) return sum({{segment}, 1}, x, target);
  Tensor result = empty_as(x);
  segment.out = output(result, "loss");
  if (segment.count > 0) GANOPS_KERNELS(adversarial_loss).value(target.stream(), dtype_of(x), {{segment}, 1});
  return result;
}

Tensor adversarial_loss_backward(const Tensor& grad, const Tensor& logits, int64_t number, Parameter parameter) {
  const Choice choice(number);
  check_grad(grad, logits, choice.reduction == Reduction::none);
  const Target target("adversarial_loss_backward", logits.get_device_index());
  const Tensor x = dense(logits);
  const bool per_element = !is_one_number(grad);
  const Tensor g = per_element ? laid_out_as(grad, x) : grad;
  LossSegment segment = choice.segment(x, choice.role, parameter, "logits");
  Tensor result = empty_as(x);
  segment.out = output(result, "grad_logits");
  if (segment.count > 0) {
    GANOPS_KERNELS(adversarial_loss)
        .first(target.stream(), dtype_of(x), {{segment}, 1}, {input(g, "grad"), per_element});
  }
  return result;
}

std::tuple<Tensor, Tensor> adversarial_loss_double_backward(const Tensor& tangent, const Tensor& grad,
                                                            const Tensor& logits, int64_t number, Parameter parameter) {
  const Choice choice(number);
  const bool per_element = choice.reduction == Reduction::none;
  check_same(tangent, logits);
  check_grad(grad, logits, per_element);
  const Target target("adversarial_loss_double_backward", logits.get_device_index());
  const Tensor x = dense(logits), t = laid_out_as(tangent, x), g = per_element ? laid_out_as(grad, x) : grad;
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  LossSegments segments = contributing({{choice.segment(x, choice.role, parameter, "logits")}, 1});
  Tensor grad_out = per_element ? empty_as(x) : empty_scalar(x), logits_out = empty_as(x);
  segments.segment[0].tangent = input(t, "tangent");
  segments.segment[0].out = output(logits_out, "grad_logits");
  Workspace workspace(x, per_element ? 0 : kernels.workspace(segments));
  kernels.second(target.stream(), dtype_of(x), segments, {input(g, "grad"), per_element}, output(grad_out, "grad_grad"),
                 workspace.data());
  return {grad_out, logits_out};
}

Tensor discriminator_loss(const Tensor& real, const Tensor& fake, int64_t number, Parameter real_parameter,
                          Parameter fake_parameter) {
  const Choice choice(number);
  check_same(real, fake, is_paired(choice.kind));
  const Target target("discriminator_loss", real.get_device_index());
  const Tensor r = dense(real), f = beside(choice, fake, r);
  LossSegments segments = both(choice, r, f, real_parameter, fake_parameter);
  if (!each_pair(choice)) return sum(segments, r, target);
  Tensor result = empty_as(r);
  segments.segment[0].out = output(result, "loss");
  if (r.numel() > 0) GANOPS_KERNELS(adversarial_loss).value(target.stream(), dtype_of(r), segments);
  return result;
}

std::tuple<Tensor, Tensor> discriminator_loss_backward(const Tensor& grad, const Tensor& real, const Tensor& fake,
                                                       int64_t number, Parameter real_parameter,
                                                       Parameter fake_parameter) {
  const Choice choice(number);
  check_same(real, fake, is_paired(choice.kind));
  check_grad(grad, real, each_pair(choice));
  const Target target("discriminator_loss_backward", real.get_device_index());
  const Tensor r = dense(real), f = beside(choice, fake, r);
  const bool per_element = !is_one_number(grad);
  const Tensor g = per_element ? laid_out_as(grad, r) : grad;
  LossSegments segments = both(choice, r, f, real_parameter, fake_parameter);
  Tensor grad_real = empty_as(r), grad_fake = empty_as(f);
  segments.segment[0].out = output(grad_real, "grad_real");
  segments.segment[1].out = output(grad_fake, "grad_fake");
  if (r.numel() + f.numel() > 0) {
    GANOPS_KERNELS(adversarial_loss).first(target.stream(), dtype_of(r), segments, {input(g, "grad"), per_element});
  }
  return {grad_real, grad_fake};
}

std::tuple<Tensor, Tensor, Tensor> discriminator_loss_double_backward(const Tensor& tangent_real,
                                                                      const Tensor& tangent_fake, const Tensor& grad,
                                                                      const Tensor& real, const Tensor& fake,
                                                                      int64_t number, Parameter real_parameter,
                                                                      Parameter fake_parameter) {
  const Choice choice(number);
  const bool per_element = each_pair(choice);
  check_same(real, fake, is_paired(choice.kind));
  check_grad(grad, real, per_element);
  check_same(tangent_real, real);
  check_same(tangent_fake, fake);
  const Target target("discriminator_loss_double_backward", real.get_device_index());
  const Tensor r = dense(real), f = beside(choice, fake, r), g = per_element ? laid_out_as(grad, r) : grad;
  const Tensor tr = laid_out_as(tangent_real, r), tf = laid_out_as(tangent_fake, f);
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  LossSegments segments = contributing(both(choice, r, f, real_parameter, fake_parameter));
  Tensor grad_out = per_element ? empty_as(r) : empty_scalar(r), real_out = empty_as(r), fake_out = empty_as(f);
  segments.segment[0].tangent = input(tr, "tangent_real");
  segments.segment[0].out = output(real_out, "grad_real");
  segments.segment[1].tangent = input(tf, "tangent_fake");
  segments.segment[1].out = output(fake_out, "grad_fake");
  Workspace workspace(r, per_element ? 0 : kernels.workspace(segments));
  kernels.second(target.stream(), dtype_of(r), segments, {input(g, "grad"), per_element}, output(grad_out, "grad_grad"),
                 workspace.data());
  return {grad_out, real_out, fake_out};
}

#ifndef GANOPS_BACKEND_CUDA

std::tuple<Tensor, Tensor> adversarial_loss_and_gradient(const Tensor& logits, int64_t number, Parameter parameter) {
  const Choice choice(number);
  STD_TORCH_CHECK(choice.reduction != Reduction::none, "ganops: the gradient beside a loss is that of a reduced one");
  const Target target("adversarial_loss_and_gradient", logits.get_device_index());
  const Tensor x = dense(logits);
  LossSegment segment = choice.segment(x, choice.role, parameter, "logits");
  Tensor grad_logits = empty_as(x);
  segment.out = output(grad_logits, "grad_logits");
  return {sum({{segment}, 1}, x, target, &AdversarialLossKernels::sum_and_first), grad_logits};
}

std::tuple<Tensor, Tensor, Tensor> discriminator_loss_and_gradients(const Tensor& real, const Tensor& fake,
                                                                    int64_t number, Parameter real_parameter,
                                                                    Parameter fake_parameter) {
  const Choice choice(number);
  STD_TORCH_CHECK(choice.reduction != Reduction::none, "ganops: the gradient beside a loss is that of a reduced one");
  check_same(real, fake, is_paired(choice.kind));
  const Target target("discriminator_loss_and_gradients", real.get_device_index());
  const Tensor r = dense(real), f = beside(choice, fake, r);
  LossSegments segments = both(choice, r, f, real_parameter, fake_parameter);
  Tensor grad_real = empty_as(r), grad_fake = empty_as(f);
  segments.segment[0].out = output(grad_real, "grad_real");
  segments.segment[1].out = output(grad_fake, "grad_fake");
  return {sum(segments, r, target, &AdversarialLossKernels::sum_and_first), grad_real, grad_fake};
}

#endif

}  // namespace

GANOPS_REGISTER(m) {
#ifndef GANOPS_BACKEND_CUDA
  m.impl("adversarial_loss_and_gradient", TORCH_BOX(&adversarial_loss_and_gradient));
  m.impl("discriminator_loss_and_gradients", TORCH_BOX(&discriminator_loss_and_gradients));
#endif
  m.impl("adversarial_loss", TORCH_BOX(&adversarial_loss));
  m.impl("adversarial_loss_backward", TORCH_BOX(&adversarial_loss_backward));
  m.impl("adversarial_loss_double_backward", TORCH_BOX(&adversarial_loss_double_backward));
  m.impl("discriminator_loss", TORCH_BOX(&discriminator_loss));
  m.impl("discriminator_loss_backward", TORCH_BOX(&discriminator_loss_backward));
  m.impl("discriminator_loss_double_backward", TORCH_BOX(&discriminator_loss_double_backward));
}

}  // namespace ganops
