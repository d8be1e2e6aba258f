// Adversarial losses as torch operators; the schemas are in schemas.cpp, the mathematics in ../math/adversarial_loss.h.
#include "../math/adversarial_loss.h"

#include <sstream>

#include "tensors.h"

// What the table of kinds holds, for Python: how reductions and roles are numbered, then one line a kind, in the order
// of their numbers, with its pairing and the base, outer, inner and shift of each role's formula.
extern "C" __attribute__((visibility("default"))) const char* ganops_loss_kinds() {
  using namespace ganops;
  static const std::string text = [] {
    std::ostringstream out;
    out << "reductions mean sum none\nroles real fake generator\n";
    for (const Kind& kind : kinds) {
      out << kind.name << (kind.paired ? " paired" : " unpaired");
      for (const Formula& f : {kind.real, kind.fake, kind.generator}) {
        out << ' ' << base_names[static_cast<int>(f.base)] << ' ' << f.outer << ' ' << f.inner << ' ' << f.shift;
      }
      out << '\n';
    }
    return out.str();
  }();
  return text.c_str();
}

namespace ganops {
namespace {

// Which formula, and how its values become the loss.
struct Choice {
  const Kind& kind;
  Reduction reduction;

  Choice(int64_t kind, int64_t reduction) : kind(row(kind)), reduction(static_cast<Reduction>(reduction)) {
    STD_TORCH_CHECK(reduction >= 0 && reduction <= static_cast<int64_t>(Reduction::none),
                    "ganops: no reduction has this number");
  }

  bool per_element() const { return reduction == Reduction::none; }

  LossSegment segment(const Tensor& logits, Role role, double parameter, const char* name) const {
    const int64_t count = logits.numel();
    return {input(logits, name), count, term(kind, role, parameter), reduction == Reduction::mean ? 1. / count : 1.};
  }

 private:
  static const Kind& row(int64_t number) {
    STD_TORCH_CHECK(number >= 0 && number < kind_count, "ganops: no kind has this number");
    return kinds[number];
  }
};

Role role_of(int64_t number) {
  STD_TORCH_CHECK(number >= 0 && number < static_cast<int64_t>(Role::count), "ganops: no role has this number");
  return static_cast<Role>(number);
}

// The choice of D's loss of two tensors, which is reduced.
Choice choice_of_both(int64_t kind, int64_t reduction) {
  const Choice choice(kind, reduction);
  STD_TORCH_CHECK(!choice.per_element() && !choice.kind.paired, "ganops: this loss is a mean or a sum of each tensor");
  return choice;
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

// A gradient as the kernels take it: one number, or one for each logit, laid out as these.
struct Upstream {
  bool per_element;
  Tensor tensor;

  Upstream(const Tensor& grad, const Tensor& logits)
      : per_element(!is_one_number(grad)), tensor(per_element ? laid_out_as(grad, logits) : grad) {}

  LossGradient data() const { return {input(tensor, "grad"), per_element}; }
};

// The loss of `segments`, one number, or one for each of their logits, which are laid out as `like`.
Tensor loss(LossSegments segments, const Tensor& like, bool per_element, const Target& target) {
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  Tensor result = per_element ? empty_as(like) : empty_scalar(like);
  void* out = output(result, "loss");
  if (per_element) {
    segments.segment[0].out = out;
    if (like.numel() > 0) kernels.value(target.stream(), dtype_of(like), segments);
  } else {
    Workspace workspace(like, kernels.workspace(segments));
    kernels.sum(target.stream(), dtype_of(like), segments, out, workspace.data());
  }
  return result;
}

// The derivative with respect to the gradient from above; those with respect to logits go where the segments say.
Tensor second(LossSegments segments, const Tensor& like, const Tensor& grad, bool per_element, const Target& target) {
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  segments = contributing(segments);
  const Tensor g = per_element ? laid_out_as(grad, like) : grad;
  Tensor grad_out = per_element ? empty_as(like) : empty_scalar(like);
  Workspace workspace(like, per_element ? 0 : kernels.workspace(segments));
  kernels.second(target.stream(), dtype_of(like), segments, {input(g, "grad"), per_element},
                 output(grad_out, "grad_grad"), workspace.data());
  return grad_out;
}

Tensor adversarial_loss(const Tensor& logits, int64_t kind, int64_t role, int64_t reduction, double parameter) {
  const Choice choice(kind, reduction);
  const Role part = role_of(role);
  const Target target("adversarial_loss", logits.get_device_index());
  const Tensor x = dense(logits);
  return loss({{choice.segment(x, part, parameter, "logits")}, 1}, x, choice.per_element(), target);
}

Tensor adversarial_loss_backward(const Tensor& grad, const Tensor& logits, int64_t kind, int64_t role,
                                 int64_t reduction, double parameter) {
  const Choice choice(kind, reduction);
  const Role part = role_of(role);
  check_grad(grad, logits, choice.per_element());
  const Target target("adversarial_loss_backward", logits.get_device_index());
  const Tensor x = dense(logits);
  const Upstream above(grad, x);
  LossSegment segment = choice.segment(x, part, parameter, "logits");
  Tensor result = empty_as(x);
  segment.out = output(result, "grad_logits");
  if (segment.count > 0) {
    GANOPS_KERNELS(adversarial_loss).first(target.stream(), dtype_of(x), {{segment}, 1}, above.data());
  }
  return result;
}

std::tuple<Tensor, Tensor> adversarial_loss_double_backward(const Tensor& tangent, const Tensor& grad,
                                                            const Tensor& logits, int64_t kind, int64_t role,
                                                            int64_t reduction, double parameter) {
  const Choice choice(kind, reduction);
  const Role part = role_of(role);
  check_same(tangent, logits);
  check_grad(grad, logits, choice.per_element());
  const Target target("adversarial_loss_double_backward", logits.get_device_index());
  const Tensor x = dense(logits), t = laid_out_as(tangent, x);
  LossSegment segment = choice.segment(x, part, parameter, "logits");
  Tensor logits_out = empty_as(x);
  segment.tangent = input(t, "tangent");
  segment.out = output(logits_out, "grad_logits");
  const Tensor grad_out = second({{segment}, 1}, x, grad, choice.per_element(), target);
  return {grad_out, logits_out};
}

// Two tensors of logits, and what is read and written beside each. Paired logits have one layout.
struct Two {
  const Tensor first, second;
  LossSegments segments;

  Two(const Choice& choice, const Tensor& real, const Tensor& fake, double real_parameter, double fake_parameter)
      : first(dense(real)),
        second(dense(fake)),
        segments{{choice.segment(first, Role::real, real_parameter, "real"),
                  choice.segment(second, Role::fake, fake_parameter, "fake")},
                 2} {}

  // The formula of one role, at the difference.
  Two(const Choice& choice, Role role, const Tensor& one, const Tensor& other, double parameter)
      : first(dense(one)),
        second(laid_out_as(other, first)),
        segments{{choice.segment(first, role, parameter, "first"), choice.segment(second, role, parameter, "second")},
                 1,
                 true} {}

  std::tuple<Tensor, Tensor> backward(const Tensor& grad, const Target& target) {
    const Upstream above(grad, first);
    Tensor of_first = empty_as(first), of_second = empty_as(segments.paired ? first : second);
    segments.segment[0].out = output(of_first, "grad_first");
    segments.segment[1].out = output(of_second, "grad_second");
    if (first.numel() + second.numel() > 0) {
      GANOPS_KERNELS(adversarial_loss).first(target.stream(), dtype_of(first), segments, above.data());
    }
    return {of_first, of_second};
  }

  std::tuple<Tensor, Tensor, Tensor> double_backward(const Tensor& tangent_first, const Tensor& tangent_second,
                                                     const Tensor& grad, bool per_element, const Target& target) {
    const Tensor t1 = laid_out_as(tangent_first, first), t2 = laid_out_as(tangent_second, second);
    Tensor of_first = empty_as(first), of_second = empty_as(segments.paired ? first : second);
    segments.segment[0].tangent = input(t1, "tangent_first");
    segments.segment[0].out = output(of_first, "grad_first");
    segments.segment[1].tangent = input(t2, "tangent_second");
    segments.segment[1].out = output(of_second, "grad_second");
    const Tensor grad_out = ganops::second(segments, first, grad, per_element, target);
    return {grad_out, of_first, of_second};
  }
};

Tensor discriminator_loss(const Tensor& real, const Tensor& fake, int64_t kind, int64_t reduction,
                          double real_parameter, double fake_parameter) {
  const Choice choice = choice_of_both(kind, reduction);
  check_same(real, fake, false);
  const Target target("discriminator_loss", real.get_device_index());
  const Two logits(choice, real, fake, real_parameter, fake_parameter);
  return loss(logits.segments, logits.first, false, target);
}

std::tuple<Tensor, Tensor> discriminator_loss_backward(const Tensor& grad, const Tensor& real, const Tensor& fake,
                                                       int64_t kind, int64_t reduction, double real_parameter,
                                                       double fake_parameter) {
  const Choice choice = choice_of_both(kind, reduction);
  check_same(real, fake, false);
  check_grad(grad, real, false);
  const Target target("discriminator_loss_backward", real.get_device_index());
  return Two(choice, real, fake, real_parameter, fake_parameter).backward(grad, target);
}

std::tuple<Tensor, Tensor, Tensor> discriminator_loss_double_backward(const Tensor& tangent_real,
                                                                      const Tensor& tangent_fake, const Tensor& grad,
                                                                      const Tensor& real, const Tensor& fake,
                                                                      int64_t kind, int64_t reduction,
                                                                      double real_parameter, double fake_parameter) {
  const Choice choice = choice_of_both(kind, reduction);
  check_same(real, fake, false);
  check_grad(grad, real, false);
  check_same(tangent_real, real);
  check_same(tangent_fake, fake);
  const Target target("discriminator_loss_double_backward", real.get_device_index());
  return Two(choice, real, fake, real_parameter, fake_parameter)
      .double_backward(tangent_real, tangent_fake, grad, false, target);
}

Tensor paired_loss(const Tensor& first, const Tensor& second, int64_t kind, int64_t role, int64_t reduction,
                   double parameter) {
  const Choice choice(kind, reduction);
  const Role part = role_of(role);
  check_same(first, second);
  const Target target("paired_loss", first.get_device_index());
  const Two logits(choice, part, first, second, parameter);
  return loss(logits.segments, logits.first, choice.per_element(), target);
}

std::tuple<Tensor, Tensor> paired_loss_backward(const Tensor& grad, const Tensor& first, const Tensor& second,
                                                int64_t kind, int64_t role, int64_t reduction, double parameter) {
  const Choice choice(kind, reduction);
  const Role part = role_of(role);
  check_same(first, second);
  check_grad(grad, first, choice.per_element());
  const Target target("paired_loss_backward", first.get_device_index());
  return Two(choice, part, first, second, parameter).backward(grad, target);
}

std::tuple<Tensor, Tensor, Tensor> paired_loss_double_backward(const Tensor& tangent_first,
                                                               const Tensor& tangent_second, const Tensor& grad,
                                                               const Tensor& first, const Tensor& second, int64_t kind,
                                                               int64_t role, int64_t reduction, double parameter) {
  const Choice choice(kind, reduction);
  const Role part = role_of(role);
  check_same(first, second);
  check_grad(grad, first, choice.per_element());
  check_same(tangent_first, first);
  check_same(tangent_second, second);
  const Target target("paired_loss_double_backward", first.get_device_index());
  return Two(choice, part, first, second, parameter)
      .double_backward(tangent_first, tangent_second, grad, choice.per_element(), target);
}

}  // namespace

GANOPS_REGISTER(m) {
  m.impl("adversarial_loss", TORCH_BOX(&adversarial_loss));
  m.impl("adversarial_loss_backward", TORCH_BOX(&adversarial_loss_backward));
  m.impl("adversarial_loss_double_backward", TORCH_BOX(&adversarial_loss_double_backward));
  m.impl("discriminator_loss", TORCH_BOX(&discriminator_loss));
  m.impl("discriminator_loss_backward", TORCH_BOX(&discriminator_loss_backward));
  m.impl("discriminator_loss_double_backward", TORCH_BOX(&discriminator_loss_double_backward));
  m.impl("paired_loss", TORCH_BOX(&paired_loss));
  m.impl("paired_loss_backward", TORCH_BOX(&paired_loss_backward));
  m.impl("paired_loss_double_backward", TORCH_BOX(&paired_loss_double_backward));
}

}  // namespace ganops
