"""Mistakes that could be made in this code, as changes of text, each with the tests that should find it.

Every mistake leaves code that builds. ``old`` must occur exactly once in ``file``: where the code has changed, the
mutant has to be written anew (tests/mutants/test_table.py fails then).
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One mistake.

    Attributes:
        name: what is wrong.
        file: path from the root.
        old, new: the text that is replaced, and the text in its place.
        tests: arguments of pytest.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


#: The names by which the conformance suite calls the functions of a stem.
_NAMES = {
    "adversarial_loss": "adversarial_loss or discriminator_loss or generator_loss",
    "clip_weights": "clip_weights",
    "diff_augment": "diff_augment",
    "feature_matching": "feature_matching",
    "gradient_penalty": "gradient_penalty or gradient_norm",
    "interpolate": "interpolate",
    "minibatch_discrimination": "minibatch_discrimination",
    "minibatch_stddev": "minibatch_stddev",
}


def _of(stem: str) -> tuple[str, ...]:
    """The tests of a stem: its own file, and its rows of the conformance suite, without those that compile."""
    return f"tests/ops/test_{stem}.py", "tests/ops/conformance", "-k", _NAMES[stem], "-m", "not compile"


LOSS, CLIP, AUGMENT = _of("adversarial_loss"), _of("clip_weights"), _of("diff_augment")
FEATURES, PENALTY, INTERPOLATE = _of("feature_matching"), _of("gradient_penalty"), _of("interpolate")
DISCRIMINATION, STDDEV = _of("minibatch_discrimination"), _of("minibatch_stddev")
OPTIMIZERS = ("tests/ops/test_optimizers.py",)
WHOLE = ("tests/ops/test_penalties.py", "tests/ops/test_cheaper_penalties.py", "tests/ops/test_amp.py")
STEPS = ("tests/training/test_steps.py", "tests/training/test_methods.py", "tests/training/test_combinations.py")
RESUME = ("tests/training/test_checkpoints.py", "tests/training/test_resume.py")

MATH = (
    Mutant(
        "the softplus's second derivative forgets a factor",
        "csrc/math/adversarial_loss.h",
        "return e * s * s;",
        "return e * s;",
        LOSS,
    ),
    Mutant(
        "hinge has a gradient at the kink",
        "csrc/math/adversarial_loss.h",
        "return u <= 0 ? A(0) : A(1);",
        "return u < 0 ? A(0) : A(1);",
        LOSS,
    ),
    Mutant(
        "hinge swallows NaN",
        "csrc/math/adversarial_loss.h",
        "return u <= 0 ? A(0) : u;",
        "return u > 0 ? u : A(0);",
        LOSS,
    ),
    Mutant(
        "the product of softplus's factors loses a term",
        "csrc/math/adversarial_loss.h",
        "return s * e + (s + e);",
        "return s + e;",
        LOSS,
    ),
    Mutant(
        "a label does not reach the gradient",
        "csrc/math/adversarial_loss.h",
        "return Softplus::first(u) + tilt;",
        "return Softplus::first(u);",
        LOSS,
    ),
    Mutant(
        "kl and minimax have each other's generator",
        "csrc/math/adversarial_loss.h",
        '{"kl", false, labelled_one, labelled_zero, minus},',
        '{"kl", false, labelled_one, labelled_zero, minus_softplus},',
        LOSS,
    ),
    Mutant(
        "interpolation is not exact at weight 1",
        "csrc/math/interpolate.h",
        "return weight * real + (1 - weight) * fake;",
        "return fake + weight * (real - fake);",
        INTERPOLATE,
    ),
    Mutant(
        "the weight's gradient has the wrong sign",
        "csrc/math/interpolate.h",
        "return grad * (real - fake);",
        "return grad * (fake - real);",
        INTERPOLATE,
    ),
    Mutant(
        "the penalty's gradient is NaN at a zero gradient",
        "csrc/math/gradient_penalty.h",
        "if (n == 0 || (one_sided && n <= target)) return 0;\n  return 2 * (1 - target / n);",
        "if (one_sided && n <= target) return 0;\n  return 2 * (1 - target / n);",
        PENALTY,
    ),
    Mutant(
        "the R1 penalty's second derivative is 0 at a zero gradient",
        "csrc/math/gradient_penalty.h",
        "  if (target == 0) return 2;\n",
        "",
        PENALTY,
    ),
    Mutant(
        "the penalty's curvature divides by the norm twice",
        "csrc/math/gradient_penalty.h",
        "return 2 * target / n;",
        "return 2 * target / (n * n);",
        PENALTY,
    ),
    Mutant(
        "the one-sided penalty is two-sided",
        "csrc/math/gradient_penalty.h",
        "return one_sided && excess < 0 ? A(0) : excess * excess;",
        "return excess * excess;",
        PENALTY,
    ),
    Mutant(
        "clipping turns NaN into a limit",
        "csrc/math/clip_weights.h",
        "const A raised = x < low ? low : x;",
        "const A raised = x >= low ? x : low;",
        CLIP,
    ),
    Mutant(
        "the deviation's epsilon is 1e-6",
        "csrc/math/minibatch_stddev.h",
        "constexpr double stddev_eps = 1e-8;",
        "constexpr double stddev_eps = 1e-6;",
        STDDEV,
    ),
    Mutant(
        "the deviation's second derivative has a wrong sign",
        "csrc/math/minibatch_stddev.h",
        "return (tangent - centred * (along * inverse)) * inverse;",
        "return (tangent + centred * (along * inverse)) * inverse;",
        STDDEV,
    ),
    Mutant(
        "grey forgets the number of channels",
        "csrc/math/diff_augment.h",
        "grey = channels == 1 ? A(0) : k * (1 - s) / channels;",
        "grey = channels == 1 ? A(0) : k * (1 - s);",
        AUGMENT,
    ),
    Mutant(
        "the gradient of a translation moves the wrong way",
        "csrc/math/diff_augment.h",
        "    if (adjoint) shift = -shift;\n",
        "",
        AUGMENT,
    ),
    Mutant(
        "the gradient's hole does not move along",
        "csrc/math/diff_augment.h",
        "const int64_t moved = adjoint ? shift : 0;",
        "const int64_t moved = 0;",
        AUGMENT,
    ),
    Mutant(
        "Adam's epsilon is inside the root",
        "csrc/math/optimizers.h",
        "square_root(third ? c : b) * step.scale + eps;",
        "square_root((third ? c : b) + eps) * step.scale;",
        OPTIMIZERS,
    ),
    Mutant(
        "weight decay shrinks the weight as well as joining the gradient",
        "csrc/math/optimizers.h",
        "rule.shrinking = s.decoupled ? s.decay : 0;",
        "rule.shrinking = s.decay;",
        OPTIMIZERS,
    ),
    Mutant(
        "AMSGrad's largest average forgets NaN",
        "csrc/math/optimizers.h",
        "c = b > c || b != b ? b : c;",
        "c = b > c ? b : c;",
        OPTIMIZERS,
    ),
    Mutant(
        "a variance below 0 gives NaN",
        "csrc/math/optimizers.h",
        "square_root(second ? (variance < 0 ? A(0) : variance) : a)",
        "square_root(second ? variance : a)",
        OPTIMIZERS,
    ),
)

CPU = (
    Mutant(
        "samples' weights do not reach the gradient",
        "csrc/cpu/adversarial_loss.cpp",
        "segment.scale * weight_of<T>(segment) * term.outer * term.inner",
        "segment.scale * term.outer * term.inner",
        LOSS,
    ),
    Mutant(
        "a mean is a sum",
        "csrc/cpu/adversarial_loss.cpp",
        "const double value = segment.scale * weight_of<T>(segment) * sum.value();",
        "const double value = weight_of<T>(segment) * sum.value();",
        LOSS,
    ),
    Mutant(
        "the last logit of an incomplete row is left out",
        "csrc/cpu/adversarial_loss.cpp",
        "lane < count - row; ++lane",
        "lane < count - row - 1; ++lane",
        LOSS,
    ),
    Mutant(
        "both of a pair get the same gradient",
        "csrc/cpu/adversarial_loss.cpp",
        "const auto y = value(i);\n      out[i] = narrow<T>(y);\n      opposite[i] = narrow<T>(-y);",
        "const auto y = value(i);\n      out[i] = narrow<T>(y);\n      opposite[i] = narrow<T>(y);",
        LOSS,
    ),
    Mutant(
        "the second derivative per element forgets the upstream gradient",
        "csrc/cpu/adversarial_loss.cpp",
        "const A y = twice * tangent * A(widen(g[i])) * curvature(i);",
        "const A y = twice * tangent * curvature(i);",
        LOSS,
    ),
    Mutant(
        "weights below the lower limit are not clipped by themselves",
        "csrc/cpu/clip_weights.cpp",
        "outside |= (value < low ? 1 : 0) | (value > high ? 1 : 0);",
        "outside |= value > high ? 1 : 0;",
        CLIP,
    ),
    Mutant(
        "the second derivative of a mean penalty is that of a sum",
        "csrc/cpu/gradient_penalty.cpp",
        "narrow<T>(total.value() * factor);",
        "narrow<T>(total.value());",
        PENALTY,
    ),
    Mutant(
        "the penalty's second derivative takes no unit vector",
        "csrc/cpu/gradient_penalty.cpp",
        "* (A(dot[sample]) * inverse);",
        "* A(dot[sample]);",
        PENALTY,
    ),
    Mutant(
        "the fake samples' gradient has the real ones' weight",
        "csrc/cpu/interpolate.cpp",
        "const A w = static_cast<const A*>(weight)[sample], rest = 1 - w;",
        "const A w = static_cast<const A*>(weight)[sample], rest = w;",
        INTERPOLATE,
    ),
    Mutant(
        "groups of the deviation are of neighbours",
        "csrc/cpu/minibatch_stddev.cpp",
        "copy(y + to, in + k * count * size + from, stretch, past);",
        "copy(y + to, in + k * size + from, stretch, past);",
        STDDEV,
    ),
    Mutant(
        "the deviation of other groups than four is unbiased",
        "csrc/cpu/minibatch_stddev.cpp",
        "deviation[j] = deviation_of(deviation[j] * share);",
        "deviation[j] = deviation_of(deviation[j] / A(count - 1));",
        STDDEV,
    ),
    Mutant(
        "samples at a tie push each other",
        "csrc/cpu/minibatch_discrimination.cpp",
        "return difference != Vector{} ? signed_x : Vector{};",
        "return signed_x;",
        DISCRIMINATION,
    ),
    Mutant(
        "the gradient of a mean over scales is that of a sum",
        "csrc/cpu/feature_matching.cpp",
        "if (setting.reduction == ScaleReduction::mean) slope = slope / A(pairs);",
        "",
        FEATURES,
    ),
    Mutant(
        "equal features hide a NaN from above",
        "csrc/cpu/feature_matching.cpp",
        "zero = up * A(0);",
        "zero = {};",
        FEATURES,
    ),
)

TORCH = (
    Mutant(
        "only one of two layouts is looked at",
        "csrc/torch/tensors.h",
        "if (a.is_contiguous() && b.is_contiguous()) return true;",
        "if (a.is_contiguous()) return true;",
        INTERPOLATE,
    ),
    Mutant(
        "strides of single places count",
        "csrc/torch/tensors.h",
        "if (sizes[i] != 1) dimensions.emplace_back(strides[i], sizes[i]);",
        "dimensions.emplace_back(strides[i], sizes[i]);",
        ("tests/ops/conformance", "-m", "not compile"),
    ),
    Mutant(
        "samples of another order of dimensions are taken as they lie",
        "csrc/torch/tensors.h",
        "return is_dense(tensor) && (samples <= 1 || tensor.stride(0) == tensor.numel() / samples);",
        "return is_dense(tensor);",
        PENALTY,
    ),
    Mutant(
        "tied weights are clipped as if apart",
        "csrc/torch/clip_weights.cpp",
        "count.back() = (end - static_cast<char*>(data.back())) / size;",
        "",
        CLIP,
    ),
)

OPS = (
    Mutant(
        "the weight is asked for where a sample is",
        "ganops/ops/interpolate.py",
        "if ctx.needs_input_grad[2] else ()))",
        "if ctx.needs_input_grad[0] else ()))",
        INTERPOLATE,
    ),
    Mutant(
        "a lone half of the gradient is filled with the other",
        "ganops/ops/interpolate.py",
        "tangent_fake = tangent_fake if fake else torch.zeros_like(grad)",
        "tangent_fake = tangent_fake if fake else tangent_real",
        INTERPOLATE,
    ),
    Mutant(
        "the augmentation's adjoint is its own backward",
        "ganops/ops/diff_augment.py",
        "ctx.back = _LINEAR if form == _ADJOINT else _ADJOINT",
        "ctx.back = _ADJOINT",
        AUGMENT,
    ),
    Mutant(
        "autograd does not learn of clipped weights",
        "ganops/ops/clip_weights.py",
        "        torch.autograd.graph.increment_version(tensors)",
        "        pass",
        CLIP,
    ),
    Mutant(
        "autograd does not learn of an optimiser's step",
        "ganops/ops/optimizers.py",
        "torch.autograd.graph.increment_version(weights if scale is None else [*weights, *gradients])",
        "pass",
        OPTIMIZERS,
    ),
    Mutant(
        "a step with infinite gradients is taken",
        "ganops/ops/optimizers.py",
        "if found_inf is not None and found_inf.item():\n                return True",
        "if found_inf is not None and found_inf.item():\n                pass",
        OPTIMIZERS,
    ),
    Mutant(
        "the second order in plain PyTorch forgets the curvature",
        "ganops/ops/gradient_penalty.py",
        "direction = slope * t + curvature * (t * unit).sum(1, keepdim=True) * unit",
        "direction = slope * t",
        PENALTY,
    ),
    Mutant(
        "expanded weights may be clipped",
        "ganops/_common/clip_weights.py",
        "any(size > 1 and stride == 0 for",
        "any(size > 2 and stride == 0 for",
        CLIP,
    ),
    Mutant(
        "a change of an image has one chance for all of its numbers",
        "ganops/_common/diff_augment.py",
        "torch.where(chance[:, i] < p, u[:, j], other)",
        "torch.where(chance[:, 0] < p, u[:, j], other)",
        AUGMENT,
    ),
    Mutant(
        "packs may leave samples over",
        "ganops/_common/pack.py",
        "if x.shape[0] % degree:",
        "if x.shape[0] < degree:",
        ("tests/ops/test_pack.py",),
    ),
)

PENALTIES = (
    Mutant(
        "the penalty sends a gradient into the samples",
        "ganops/penalties/whole.py",
        "where = points(*(value.detach() for value in samples.values()))",
        "where = points(*samples.values())",
        WHOLE,
    ),
    Mutant(
        "DRAGAN's deviation is unbiased",
        "ganops/penalties/whole.py",
        "real.std(correction=0)",
        "real.std()",
        WHOLE,
    ),
    Mutant(
        "the penalty has no second derivative",
        "ganops/penalties/slopes.py",
        "create_graph=recorded, retain_graph=True, allow_unused=True)",
        "create_graph=False, retain_graph=True, allow_unused=True)",
        WHOLE,
    ),
    Mutant(
        "a critic that works in place changes the samples",
        "ganops/penalties/slopes.py",
        "scores = critic(points.clone(), inside=True, twice=twice)",
        "scores = critic(points, inside=True, twice=twice)",
        (*WHOLE, "tests/ops/test_critics.py"),
    ),
    Mutant(
        "a scaled gradient is not unscaled",
        "ganops/penalties/slopes.py",
        "return gradient if factor is None else gradient.to(accumulate_dtype(gradient.dtype)) / factor",
        "return gradient",
        WHOLE,
    ),
    Mutant(
        "both ends of a difference meet other weights",
        "ganops/penalties/slopes.py",
        "return contextlib.nullcontext() if torch.compiler.is_compiling() else parametrize.cached()",
        "return contextlib.nullcontext()",
        (*WHOLE, "tests/ops/test_critics.py"),
    ),
)

TRAINING = (
    Mutant(
        "the critic is not clipped after SGD's step",
        "ganops/training/steps.py",
        "if self.clipped and not optimizers.clips(self.discriminator_optimizer):",
        "if False:",
        STEPS,
    ),
    Mutant(
        "the discriminator's steps are not counted",
        "ganops/training/steps.py",
        "        self._discriminator_steps += 1\n",
        "",
        STEPS,
    ),
    Mutant(
        "the generator's gradients gather",
        "ganops/training/steps.py",
        "        self.generator_optimizer.zero_grad(set_to_none=True)\n",
        "",
        STEPS,
    ),
    Mutant(
        "a lazy penalty is not weighted by its interval",
        "ganops/training/objective.py",
        "return Update(None, self.config.penalty_every * penalty, None)",
        "return Update(None, penalty, None)",
        STEPS,
    ),
    Mutant(
        "L1 is L2",
        "ganops/training/objective.py",
        "(fake - real).abs().mean()",
        "(fake - real).square().mean()",
        STEPS,
    ),
    Mutant(
        "the conditions of a pack are those of its first sample",
        "ganops/training/objective.py",
        "condition = ganops.pack(condition, self.config.pack)",
        "condition = condition[:: self.config.pack]",
        STEPS,
    ),
    Mutant(
        "R2 of an unrolled game is cut from the generator",
        "ganops/training/penalties.py",
        "return ganops.r2_penalty(_moving_with(at.critic, at.fake), at.fake, **_options(at, config))",
        "return ganops.r2_penalty(at.critic, at.fake, **_options(at, config))",
        STEPS,
    ),
    Mutant(
        "one-pass R2 of an unrolled game is cut from the generator",
        "ganops/training/objective.py",
        "points = inputs if inputs.requires_grad else inputs.detach()",
        "points = inputs.detach()",
        ("tests/training/test_one_pass.py",),
    ),
    Mutant(
        "an estimated penalty compares two states of spectral norm",
        "ganops/training/objective.py",
        "parametrize.cached() if compared else contextlib.nullcontext()",
        "contextlib.nullcontext()",
        ("tests/training/test_one_pass.py",),
    ),
    Mutant(
        "updates as functions do not clip",
        "ganops/training/compiled.py",
        "moved if each.clip is None else moved.clamp(-each.clip, each.clip)",
        "moved",
        ("tests/training/test_compiled.py",),
    ),
    Mutant(
        "the moving average reads its counter",
        "ganops/training/ema.py",
        "            if average:\n",
        "            if average and self.n_averaged > 0:\n",
        ("tests/training/test_capture.py",),
    ),
    Mutant(
        "the augmentation's probability falls where it should rise",
        "ganops/training/augment.py",
        "change = (confidence - self._target).sign()",
        "change = (self._target - confidence).sign()",
        STEPS,
    ),
    Mutant(
        "a batch that ends the epoch is left out",
        "ganops/training/batches.py",
        "if self._used + self._batch_size > len(self._order):",
        "if self._used + self._batch_size >= len(self._order):",
        (*STEPS, *RESUME),
    ),
    Mutant(
        "a resumed run begins its epoch again",
        "ganops/training/batches.py",
        '        self._begin_epoch()\n        self._used = state["used"]',
        "        self._begin_epoch()",
        RESUME,
    ),
    Mutant(
        "the random number of a streamed sample follows its place, not its index",
        "ganops/training/sampler.py",
        "zip(part.tolist(), numbers[part].tolist(), strict=True)",
        "zip(part.tolist(), numbers[used : used + len(part)].tolist(), strict=True)",
        ("tests/training/test_sampler.py",),
    ),
    Mutant(
        "a resumed stream begins its epoch again",
        "ganops/training/streams.py",
        "epoch=begin.epoch, used=begin.used, **self._part",
        "epoch=begin.epoch, **self._part",
        ("tests/training/test_streams.py",),
    ),
    Mutant(
        "a worker opens whatever has taken the place of an image",
        "ganops/data/image_files.py",
        "        if not stat.S_ISREG(status.st_mode):\n            os.close",
        "        if False:\n            os.close",
        ("tests/data/test_decoding.py",),
    ),
    Mutant(
        "a lookahead begins Adam's count one late",
        "ganops/training/unroll.py",
        'step = state.get("step", p.new_zeros(())).double() + 1',
        'step = state.get("step", p.new_zeros(())).double() + 2',
        STEPS,
    ),
    Mutant(
        "a lookahead moves the discriminator's buffers",
        "ganops/training/unroll.py",
        "self._buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}",
        "self._buffers = dict(network.named_buffers())",
        STEPS,
    ),
    Mutant(
        "the moving average averages all floating buffers",
        "ganops/training/ema.py",
        'statistic = name.rpartition(".")[2] in _STATISTICS and mine.is_floating_point()',
        "statistic = mine.is_floating_point()",
        (*STEPS, *RESUME),
    ),
    Mutant(
        "a young average remembers the initial weights",
        "ganops/training/ema.py",
        "return min(self.decay, (1 + step) / (10 + step)) if step > 1 else 0.0",
        "return self.decay if step > 1 else 0.0",
        (*STEPS, *RESUME),
    ),
    Mutant(
        "lazy penalties leave the learning rate as it is",
        "ganops/training/optimizers.py",
        "1.0 if k == 1 else k / (k + 1), clipped)",
        "1.0, clipped)",
        STEPS,
    ),
    Mutant(
        "the learning rate decays from the first step on",
        "ganops/training/optimizers.py",
        "left = min(1.0, (config.steps - step) / decaying) if decaying else 1.0",
        "left = (config.steps - step) / config.steps if decaying else 1.0",
        STEPS,
    ),
    Mutant(
        "a checkpoint leaves out the noise's generator",
        "ganops/training/steps.py",
        '"noise": self.noise.get_state(),',
        '"noise": seeded(self.config.seed + 1, "cpu").get_state(),',
        RESUME,
    ),
    Mutant(
        "the monitor warns at every look",
        "ganops/training/monitor.py",
        "if found and self._streaks[found[0]] == self.patience:",
        "if found and self._streaks[found[0]] >= self.patience:",
        ("tests/training/test_monitor.py",),
    ),
    Mutant(
        "ties count as the discriminator's errors",
        "ganops/training/monitor.py",
        "below = torch.searchsorted(ordered, r, right=False) + torch.searchsorted(ordered, r, right=True)",
        "below = 2 * torch.searchsorted(ordered, r, right=False)",
        ("tests/training/test_monitor.py",),
    ),
)

DATA = (
    Mutant(
        "the ring has seven modes",
        "ganops/data/points.py",
        "angle = 2 * math.pi * torch.arange(8, device=_CPU).to(torch.float32) / 8",
        "angle = 2 * math.pi * torch.arange(8, device=_CPU).to(torch.float32) / 7",
        ("tests/data",),
    ),
    Mutant(
        "points follow torch's default dtype",
        "ganops/data/points.py",
        "return torch.randn(size, width, generator=generator, dtype=torch.float32, device=_CPU)",
        "return torch.randn(size, width, generator=generator, device=_CPU)",
        ("tests/data",),
    ),
    Mutant(
        "stacked digits are spelled backwards",
        "ganops/data/digit_images.py",
        "torch.tensor([100, 10, 1]",
        "torch.tensor([1, 10, 100]",
        ("tests/data",),
    ),
    Mutant(
        "a white-is-zero TIFF of 16 bits is inverted",
        "ganops/data/image_files.py",
        "        table = 255 - table\n",
        "        pass\n",
        ("tests/data", "tests/attacks/test_images.py"),
    ),
    Mutant(
        "lack of memory is a bad image",
        "ganops/data/image_files.py",
        'if isinstance(error, MemoryError) or "out of memory" in str(error):',
        "if False:",
        ("tests/data",),
    ),
    Mutant(
        "a link takes the place of the folder itself",
        "ganops/data/image_files.py",
        "folder = folders.popleft() if folders else links.popleft()",
        "folder = links.popleft() if links else folders.popleft()",
        ("tests/data",),
    ),
    Mutant(
        "the kernel distance compares a point with itself",
        "ganops/metrics/distances.py",
        "return (k.sum() - k.trace()) / (len(x) * (len(x) - 1))",
        "return k.mean()",
        ("tests/metrics",),
    ),
    Mutant(
        "a point is its own nearest neighbour",
        "ganops/metrics/distances.py",
        "topk(k + 1, dim=1",
        "topk(k, dim=1",
        ("tests/metrics",),
    ),
    Mutant(
        "pyramid levels are a quarter as bright",
        "ganops/metrics/pyramid.py",
        "return 4 * _smooth(large)",
        "return _smooth(large)",
        ("tests/metrics/test_pyramid.py",),
    ),
    Mutant(
        "W1 of Gaussians has no gradient where deviations agree",
        "ganops/theory.py",
        "safe = torch.where(s > 0, s, torch.ones_like(s))",
        "safe = s",
        ("tests/theory",),
    ),
)

MUTANTS = (*MATH, *CPU, *TORCH, *OPS, *PENALTIES, *TRAINING, *DATA)
