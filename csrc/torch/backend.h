// Which kernels the wrappers of this library call, and where: the one place that knows the backend.
//
// The same wrappers are compiled for each backend. GANOPS_BACKEND_CUDA: the kernels of csrc/cuda, for CUDA tensors, or,
// with GANOPS_EMULATED too, the same kernels run by the emulator of the tests for CPU tensors. Otherwise csrc/cpu.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>

#include <string>

#include "../kernels/adversarial_loss.h"
#include "../kernels/clip_weights.h"
#include "../kernels/diff_augment.h"
#include "../kernels/feature_matching.h"
#include "../kernels/filtered_lrelu.h"
#include "../kernels/filtered_snake.h"
#include "../kernels/gradient_penalty.h"
#include "../kernels/interpolate.h"
#include "../kernels/minibatch_discrimination.h"
#include "../kernels/minibatch_stddev.h"
#include "../kernels/optimizers.h"
#include "../kernels/upfirdn.h"

#if defined(GANOPS_BACKEND_CUDA)

#include <cuda_runtime.h>

namespace ganops::cuda {
extern const AdversarialLossKernels adversarial_loss;
extern const InterpolateKernels interpolate;
extern const GradientPenaltyKernels gradient_penalty;
extern const ClipWeightsKernels clip_weights;
extern const DiffAugmentKernels diff_augment;
extern const OptimizersKernels optimizers;
extern const MinibatchDiscriminationKernels minibatch_discrimination;
extern const MinibatchStddevKernels minibatch_stddev;
extern const FeatureMatchingKernels feature_matching;
extern const UpfirdnKernels upfirdn;
extern const FilteredSnakeKernels filtered_snake;
extern const FilteredLreluKernels filtered_lrelu;
}  // namespace ganops::cuda

#define GANOPS_KERNELS(stem) ::ganops::cuda::stem

#else

#include "../cpu/isa.h"

GANOPS_CPU_TABLE(AdversarialLossKernels, adversarial_loss)
GANOPS_CPU_TABLE(InterpolateKernels, interpolate)
GANOPS_CPU_TABLE(GradientPenaltyKernels, gradient_penalty)
GANOPS_CPU_TABLE(ClipWeightsKernels, clip_weights)
GANOPS_CPU_TABLE(DiffAugmentKernels, diff_augment)
GANOPS_CPU_TABLE(OptimizersKernels, optimizers)
GANOPS_CPU_TABLE(MinibatchDiscriminationKernels, minibatch_discrimination)
GANOPS_CPU_TABLE(MinibatchStddevKernels, minibatch_stddev)
GANOPS_CPU_TABLE(FeatureMatchingKernels, feature_matching)
GANOPS_CPU_TABLE(UpfirdnKernels, upfirdn)
GANOPS_CPU_TABLE(FilteredSnakeKernels, filtered_snake)
GANOPS_CPU_TABLE(FilteredLreluKernels, filtered_lrelu)

#define GANOPS_KERNELS(stem) ::ganops::cpu::stem()

#endif

#if defined(GANOPS_BACKEND_CUDA) && !defined(GANOPS_EMULATED)
#define GANOPS_REGISTER(m) STABLE_TORCH_LIBRARY_IMPL(ganops, CUDA, m)
#else
#define GANOPS_REGISTER(m) STABLE_TORCH_LIBRARY_IMPL(ganops, CPU, m)
#endif

namespace ganops {

// For the lifetime of a Target, `device` is the current device and `stream` is the stream that torch uses on it.
class Target {
 public:
  Target(const char* op, int32_t device);
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  Stream stream() const { return stream_; }

 private:
#if defined(GANOPS_EMULATED)
  ganops_emulation::Op scope_;
#elif defined(GANOPS_BACKEND_CUDA)
  // torch's own guard: going back to a device on which this process has no context creates none. cudaSetDevice would,
  // half a gigabyte on the first GPU for each process that works on another.
  torch::stable::accelerator::DeviceGuard guard_;
#endif
  Stream stream_ = nullptr;
};

// Remembers, for this thread, how many bytes torch's allocator has just refused. The stable ABI turns an exception of
// torch into an error code, so that its type is lost; Python asks for the bytes and raises what torch raises
// (ganops/_memory.py).
void note_refused_bytes(int64_t bytes);

}  // namespace ganops
