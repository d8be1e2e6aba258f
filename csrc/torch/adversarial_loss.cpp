// Adversarial losses as torch operators; the schemas are in schemas.cpp, the mathematics in ../math/adversarial_loss.h.
#include "../math/adversarial_loss.h"

#include <sstream>

#include "tensors.h"

GANOPS_DECLARE_KERNELS(AdversarialLossKernels, adversarial_loss)

// What the table of kinds holds, for Python: how reductions and roles are numbered, then one line a kind, in the order
// of their numbers, with its pairing and the base, outer, inner, shift, tilt and label of each role's formula.
extern "C" __attribute__((visibility("default"))) const char* ganops_loss_kinds() {
  using namespace ganops;
  static const std::string text = [] {
    std::ostringstream out;
    out << "reductions mean sum none\nroles real fake generator\n";
    for (const Kind& kind : kinds) {
      out << kind.name << (kind.paired ? " paired" : " unpaired");
      for (const Formula& f : {kind.real, kind.fake, kind.generator}) {
        out << ' ' << base_names[static_cast<int>(f.base)] << ' ' << f.outer << ' ' << f.inner << ' ' << f.shift << ' '
            << f.tilt << ' ' << f.label;
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

  // Its partner, if any, is laid out as the logits.
  LossSegment segment(const Tensor& logits, const Tensor* partner = nullptr, int64_t discriminators = 1) const {
    const int64_t count = logits.numel();
    const double scale = reduction == Reduction::mean ? 1. / count : 1.;
    return {count, scale / discriminators, input(logits, "logits"), partner ? input(*partner, "partner") : nullptr};
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

// One segment or two, each with its term.
struct Table {
  LossSegment segment[2];
  LossTable table;

  Table(const LossSegment& only, const Term& term, bool paired = false)
      : segment{only}, table{segment, 1, {term}, 1, 1, paired} {}
  Table(const LossSegment& real, const Term& real_term, const LossSegment& fake, const Term& fake_term)
      : segment{real, fake}, table{segment, 2, {real_term, fake_term}, 2} {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
};

// For derivatives: no logits, no contribution, where the mean itself of no logits is NaN.
void leave_out_empty(LossSegment* segments, int64_t count) {
  for (int64_t s = 0; s < count; ++s) {
    if (segments[s].count == 0) segments[s].scale = 0;
  }
}

// The gradient from above has the loss' shape: one element, or that of the logits.
void check_grad(const Tensor& grad, const Tensor& logits, bool per_element) {
  check_same(grad, logits, per_element);
  STD_TORCH_CHECK(per_element || grad.numel() == 1, "ganops: the gradient of a reduced loss must have one element");
}

// A gradient as the kernels take it: one number, or one for each logit of the first segment, laid out as these.
struct Upstream {
  Tensor tensor;
  LossGradients views{};

  Upstream(const Tensor& grad, const Tensor& logits, Table& of) : tensor(grad) {
    of.table.per_element = !is_one_number(grad);
    if (of.table.per_element) {
      tensor = laid_out_as(grad, logits);
      of.segment[0].above = input(tensor, "grad");
    } else {
      views.at[0] = input(tensor, "grad");
    }
  }
};

// The loss, one number, or one for each logit of the first segment, laid out as `like`.
Tensor loss(Table& of, const Tensor& like, bool per_element, const Target& target) {
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  Tensor result = per_element ? empty_as(like) : empty_scalar(like);
  void* out = output(result, "loss");
  if (per_element) {
    of.segment[0].out = out;
    if (like.numel() > 0) kernels.value(target.stream(), dtype_of(like), of.table);
  } else {
    Workspace workspace(like, kernels.workspace(of.table));
    kernels.sum(target.stream(), dtype_of(like), of.table, {{out}}, workspace.data());
  }
  return result;
}

// The derivative with respect to the gradient from above; those with respect to logits go where the segments say.
Tensor second(Table& of, const Tensor& like, const Tensor& grad, bool per_element, const Target& target) {
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  leave_out_empty(of.segment, of.table.count);
  of.table.per_element = per_element;
  const Tensor g = per_element ? laid_out_as(grad, like) : grad;
  Tensor grad_out = per_element ? empty_as(like) : empty_scalar(like);
  LossGradients above{};
  LossValues out{};
  if (per_element) {
    of.segment[0].above = input(g, "grad");
    of.segment[0].above_out = output(grad_out, "grad_grad");
  } else {
    above.at[0] = input(g, "grad");
    out.at[0] = output(grad_out, "grad_grad");
  }
  Workspace workspace(like, per_element ? 0 : kernels.workspace(of.table));
  kernels.second(target.stream(), dtype_of(like), of.table, above, out, workspace.data());
  return grad_out;
}

Tensor adversarial_loss(const Tensor& logits, int64_t kind, int64_t role, int64_t reduction, double parameter) {
  const Choice choice(kind, reduction);
  const Role part = role_of(role);
  const Target target("adversarial_loss", logits.get_device_index());
  const Tensor x = dense(logits);
  Table of(choice.segment(x), term(choice.kind, part, parameter));
  return loss(of, x, choice.per_element(), target);
}

Tensor adversarial_loss_backward(const Tensor& grad, const Tensor& logits, int64_t kind, int64_t role,
                                 int64_t reduction, double parameter) {
  const Choice choice(kind, reduction);
  const Role part = role_of(role);
  check_grad(grad, logits, choice.per_element());
  const Target target("adversarial_loss_backward", logits.get_device_index());
  const Tensor x = dense(logits);
  Table of(choice.segment(x), term(choice.kind, part, parameter));
  const Upstream above(grad, x, of);
  Tensor result = empty_as(x);
  of.segment[0].out = output(result, "grad_logits");
  if (x.numel() > 0) {
    GANOPS_KERNELS(adversarial_loss).first(target.stream(), dtype_of(x), of.table, above.views);
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
  Table of(choice.segment(x), term(choice.kind, part, parameter));
  Tensor logits_out = empty_as(x);
  of.segment[0].tangent = input(t, "tangent");
  of.segment[0].out = output(logits_out, "grad_logits");
  const Tensor grad_out = second(of, x, grad, choice.per_element(), target);
  return {grad_out, logits_out};
}

// Two tensors of logits, and what is read and written beside each. Paired logits have one layout.
struct Two {
  const Tensor first, second;
  Table of;

  Two(const Choice& choice, const Tensor& real, const Tensor& fake, double real_parameter, double fake_parameter)
      : first(dense(real)),
        second(dense(fake)),
        of(choice.segment(first), term(choice.kind, Role::real, real_parameter), choice.segment(second),
           term(choice.kind, Role::fake, fake_parameter)) {}

  // The formula of one role, at the difference.
  Two(const Choice& choice, Role role, const Tensor& one, const Tensor& other, double parameter)
      : first(dense(one)),
        second(laid_out_as(other, first)),
        of(choice.segment(first, &second), term(choice.kind, role, parameter), true) {}

  void*& out_of_second() { return of.table.paired ? of.segment[0].partner_out : of.segment[1].out; }
  const void*& tangent_of_second() { return of.table.paired ? of.segment[0].partner_tangent : of.segment[1].tangent; }

  std::tuple<Tensor, Tensor> backward(const Tensor& grad, const Target& target) {
    const Upstream above(grad, first, of);
    Tensor of_first = empty_as(first), of_second = empty_as(of.table.paired ? first : second);
    of.segment[0].out = output(of_first, "grad_first");
    out_of_second() = output(of_second, "grad_second");
    if (first.numel() + second.numel() > 0) {
      GANOPS_KERNELS(adversarial_loss).first(target.stream(), dtype_of(first), of.table, above.views);
    }
    return {of_first, of_second};
  }

  std::tuple<Tensor, Tensor, Tensor> double_backward(const Tensor& tangent_first, const Tensor& tangent_second,
                                                     const Tensor& grad, bool per_element, const Target& target) {
    const Tensor t1 = laid_out_as(tangent_first, first), t2 = laid_out_as(tangent_second, second);
    Tensor of_first = empty_as(first), of_second = empty_as(of.table.paired ? first : second);
    of.segment[0].tangent = input(t1, "tangent_first");
    of.segment[0].out = output(of_first, "grad_first");
    tangent_of_second() = input(t2, "tangent_second");
    out_of_second() = output(of_second, "grad_second");
    const Tensor grad_out = ganops::second(of, first, grad, per_element, target);
    return {grad_out, of_first, of_second};
  }
};

Tensor discriminator_loss(const Tensor& real, const Tensor& fake, int64_t kind, int64_t reduction,
                          double real_parameter, double fake_parameter) {
  const Choice choice = choice_of_both(kind, reduction);
  check_same(real, fake, false);
  const Target target("discriminator_loss", real.get_device_index());
  Two logits(choice, real, fake, real_parameter, fake_parameter);
  return loss(logits.of, logits.first, false, target);
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
  Two logits(choice, part, first, second, parameter);
  return loss(logits.of, logits.first, choice.per_element(), target);
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

using Tensors = std::vector<Tensor>;
using Numbers = std::vector<int64_t>;

// The logits of K discriminators, for `roles` of a kind in turn: K or 2K tensors, or K and K partners. With weights,
// one for each sample of every tensor, each sample is a segment.
struct Lists {
  const Choice choice;
  Tensors logits, partners;  // dense
  std::optional<Tensor> weights;
  int64_t samples = 1;  // segments of a tensor
  std::vector<LossSegment> segments;
  LossTable table{};

  Lists(const Tensors& x, const Tensors& y, int64_t kind, const Numbers& roles, int64_t reduction,
        int64_t scale_reduction, const std::vector<double>& parameters, const std::optional<Tensor>& sample_weight)
      : choice(kind, reduction) {
    STD_TORCH_CHECK(!x.empty() && !roles.empty() && roles.size() <= 2 && x.size() % roles.size() == 0 &&
                        parameters.size() == roles.size(),
                    "ganops: there must be as many tensors of logits for each role, and one parameter a role");
    STD_TORCH_CHECK(y.empty() || (y.size() == x.size() && roles.size() == 1),
                    "ganops: each tensor of logits must have a partner");
    STD_TORCH_CHECK(scale_reduction >= 0 && scale_reduction <= static_cast<int64_t>(ScaleReduction::none),
                    "ganops: no scale reduction has this number");
    const int64_t count = x.size(), discriminators = count / static_cast<int64_t>(roles.size());
    const auto how = static_cast<ScaleReduction>(scale_reduction);
    if (sample_weight) {
      check_place(*sample_weight, x[0]);
      STD_TORCH_CHECK(roles.size() == 1 && sample_weight->dim() == 1,
                      "ganops: the losses of one role take weights (N)");
      weights = as_contiguous(*sample_weight);
      samples = std::max<int64_t>(weights->numel(), 1);
    }
    for (int64_t k = 0; k < count; ++k) {
      check_place(x[k], x[0]);
      STD_TORCH_CHECK(!weights || (x[k].dim() > 0 && x[k].sizes()[0] == weights->numel()),
                      "ganops: there must be a weight for each sample");
      logits.push_back(weights ? dense_by_sample(x[k]) : dense(x[k]));
      if (!y.empty()) {
        check_place(y[k], x[0]);
        check_same(y[k], x[k]);
        partners.push_back(laid_out_as(y[k], logits[k]));
      }
      LossSegment segment = choice.segment(logits[k], y.empty() ? nullptr : &partners[k],
                                           how == ScaleReduction::mean ? discriminators : 1);
      segment.count /= samples;
      const void *first = segment.logits, *partner = segment.partner;
      segments.insert(segments.end(), samples, segment);
      set(k, &LossSegment::logits, first);
      if (partner != nullptr) set(k, &LossSegment::partner, partner);
      if (weights && weights->numel() > 0) set_weights(k);
    }
    table.segments = segments.data();
    table.count = segments.size();
    table.samples = samples;
    table.parts = static_cast<int>(roles.size());
    table.paired = !y.empty();
    table.each = how == ScaleReduction::none;
    for (size_t i = 0; i < roles.size(); ++i) {
      table.terms[i] = term(choice.kind, role_of(roles[i]), parameters[i]);
    }
  }
  Lists(const Lists&) = delete;
  Lists& operator=(const Lists&) = delete;

  const Tensor& like() const { return logits[0]; }
  int64_t discriminators() const { return table.count / (table.parts * samples); }

  // Where the segments of tensor k find what begins there and lies in memory as the tensor.
  template <class Pointer>
  void set(int64_t k, Pointer LossSegment::* member, Pointer begin) {
    for (int64_t n = 0; n < samples; ++n) {
      LossSegment& segment = segments[k * samples + n];
      const auto address = reinterpret_cast<uintptr_t>(begin) + n * segment.count * logits[k].element_size();
      segment.*member = reinterpret_cast<Pointer>(address);
    }
  }

  void set_weights(int64_t k) {
    const char* begin = static_cast<const char*>(input(*weights, "sample_weight"));
    for (int64_t n = 0; n < samples; ++n) segments[k * samples + n].weight = begin + n * weights->element_size();
  }

  static void check_place(const Tensor& tensor, const Tensor& first) {
    check_same(tensor, first, false);
    STD_TORCH_CHECK(tensor.is_cpu() == first.is_cpu(), "ganops: logits must be on one device");
  }

  // The number or numbers of one view.
  Tensor view() const {
    return table.each ? empty_vector(like(), discriminators(), raw_dtype(like())) : empty_scalar(like());
  }

  // The gradients from above of the views that `given` names, or of each tensor. They live as long as `kept`.
  LossGradients above(const Tensors& grads, const Numbers& given, Tensors& kept) {
    LossGradients views{};
    table.per_element = choice.per_element();
    if (choice.per_element()) {
      STD_TORCH_CHECK(grads.size() == logits.size(), "ganops: there must be a gradient for each tensor of logits");
      for (size_t k = 0; k < grads.size(); ++k) {
        check_place(grads[k], like());
        check_same(grads[k], logits[k]);
        kept.push_back(laid_out_as(grads[k], logits[k]));
        set(k, &LossSegment::above, input(kept.back(), "grad"));
      }
      return views;
    }
    STD_TORCH_CHECK(grads.size() == given.size() && !grads.empty(), "ganops: each gradient must be of one view");
    for (size_t i = 0; i < grads.size(); ++i) {
      STD_TORCH_CHECK(given[i] >= 0 && given[i] <= table.parts && views.at[given[i]] == nullptr,
                      "ganops: no view has this number");
      check_place(grads[i], like());
      STD_TORCH_CHECK(grads[i].numel() == (table.each ? discriminators() : 1),
                      "ganops: a gradient must be as the loss is");
      kept.push_back(as_contiguous(grads[i]));
      views.at[given[i]] = input(kept.back(), "grad");
    }
    return views;
  }

  // Gradients of the logits, then of their partners, which lie in memory as these.
  Tensors make_gradients() {
    Tensors found;
    for (size_t k = 0; k < logits.size(); ++k) {
      found.push_back(empty_as(logits[k]));
      set(k, &LossSegment::out, output(found.back(), "grad_logits"));
    }
    for (size_t k = 0; k < partners.size(); ++k) {
      found.push_back(empty_as(logits[k]));
      set(k, &LossSegment::partner_out, output(found.back(), "grad_partner"));
    }
    return found;
  }
};

// The loss, and with `parts` the part of each role; or a loss for each tensor of logits.
Tensors adversarial_losses(const Tensors& x, const Tensors& partners, int64_t kind, const Numbers& roles,
                           int64_t reduction, int64_t scale_reduction, const std::vector<double>& parameters,
                           bool parts, std::optional<Tensor> sample_weight) {
  STD_TORCH_CHECK(!x.empty(), "ganops: there must be logits");
  const Target target("adversarial_losses", x[0].get_device_index());
  Lists lists(x, partners, kind, roles, reduction, scale_reduction, parameters, sample_weight);
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  Tensors found;
  if (lists.choice.per_element()) {
    for (size_t k = 0; k < x.size(); ++k) {
      found.push_back(empty_as(lists.logits[k]));
      lists.set(k, &LossSegment::out, output(found.back(), "loss"));
    }
    kernels.value(target.stream(), dtype_of(lists.like()), lists.table);
    return found;
  }
  LossValues out{};
  for (int view = 0; view <= (parts ? lists.table.parts : 0); ++view) {
    found.push_back(lists.view());
    out.at[view] = output(found.back(), "loss");
  }
  Workspace workspace(lists.like(), kernels.workspace(lists.table));
  kernels.sum(target.stream(), dtype_of(lists.like()), lists.table, out, workspace.data());
  return found;
}

Tensors adversarial_losses_backward(const Tensors& grads, const Numbers& given, const Tensors& x,
                                    const Tensors& partners, int64_t kind, const Numbers& roles, int64_t reduction,
                                    int64_t scale_reduction, const std::vector<double>& parameters,
                                    std::optional<Tensor> sample_weight) {
  STD_TORCH_CHECK(!x.empty(), "ganops: there must be logits");
  const Target target("adversarial_losses_backward", x[0].get_device_index());
  Lists lists(x, partners, kind, roles, reduction, scale_reduction, parameters, sample_weight);
  Tensors kept;
  const LossGradients above = lists.above(grads, given, kept);
  const Tensors found = lists.make_gradients();
  GANOPS_KERNELS(adversarial_loss).first(target.stream(), dtype_of(lists.like()), lists.table, above);
  return found;
}

// The derivatives with respect to `grads`, to the logits and to their partners, in one list.
Tensors adversarial_losses_double_backward(const Tensors& tangents, const Tensors& grads, const Numbers& given,
                                           const Tensors& x, const Tensors& partners, int64_t kind,
                                           const Numbers& roles, int64_t reduction, int64_t scale_reduction,
                                           const std::vector<double>& parameters, std::optional<Tensor> sample_weight) {
  STD_TORCH_CHECK(!x.empty() && tangents.size() == x.size() + partners.size(),
                  "ganops: there must be a tangent for each tensor of logits");
  const Target target("adversarial_losses_double_backward", x[0].get_device_index());
  Lists lists(x, partners, kind, roles, reduction, scale_reduction, parameters, sample_weight);
  Tensors kept, found;
  const LossGradients above = lists.above(grads, given, kept);
  for (size_t k = 0; k < tangents.size(); ++k) {
    const size_t s = k % x.size();
    Lists::check_place(tangents[k], lists.like());
    check_same(tangents[k], lists.logits[s]);
    kept.push_back(laid_out_as(tangents[k], lists.logits[s]));
    lists.set(s, k < x.size() ? &LossSegment::tangent : &LossSegment::partner_tangent, input(kept.back(), "tangent"));
  }
  leave_out_empty(lists.segments.data(), lists.table.count);
  LossValues out{};
  for (size_t i = 0; i < grads.size(); ++i) {
    if (lists.choice.per_element()) {
      found.push_back(empty_as(lists.logits[i]));
      lists.set(i, &LossSegment::above_out, output(found.back(), "grad_grad"));
    } else {
      found.push_back(lists.view());
      out.at[given[i]] = output(found.back(), "grad_grad");
    }
  }
  const Tensors of_logits = lists.make_gradients();
  found.insert(found.end(), of_logits.begin(), of_logits.end());
  const auto& kernels = GANOPS_KERNELS(adversarial_loss);
  Workspace workspace(lists.like(), lists.choice.per_element() ? 0 : kernels.workspace(lists.table));
  kernels.second(target.stream(), dtype_of(lists.like()), lists.table, above, out, workspace.data());
  return found;
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
  m.impl("adversarial_losses", TORCH_BOX(&adversarial_losses));
  m.impl("adversarial_losses_backward", TORCH_BOX(&adversarial_losses_backward));
  m.impl("adversarial_losses_double_backward", TORCH_BOX(&adversarial_losses_double_backward));
}

}  // namespace ganops
