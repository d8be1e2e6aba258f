// Stand-in for CUDA's <cuda_runtime.h>: enough of its types, intrinsics and launch API to compile kernels with a host
// compiler and run them on the emulator. What is missing here fails to compile, it never silently does nothing.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bit>
#include <cstdio>
#include <tuple>
#include <type_traits>
#include <utility>

#include "ganops_emulation.h"

#ifndef GANOPS_EMULATED
#define GANOPS_EMULATED 1
#endif

// --- Qualifiers ---------------------------------------------------------------------------------------------------
#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __cluster_dims__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
// Without aliasing promises the compiler keeps each access where the source has it, so that races stay visible.
#define __restrict__
// Blocks run one after another on one thread, so shared memory is a per-thread static. Its address range is the
// library's thread-local segment, by which the emulator recognises it.
#define __shared__ thread_local

// --- Types --------------------------------------------------------------------------------------------------------
#define GANOPS_VECTOR_TYPES(T, name, align2, align4)                    \
  struct name##1 { T x; };                                              \
  struct alignas(align2) name##2 { T x, y; };                           \
  struct name##3 { T x, y, z; };                                        \
  struct alignas(align4) name##4 { T x, y, z, w; };                     \
  constexpr name##1 make_##name##1(T x) { return {x}; }                 \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

GANOPS_VECTOR_TYPES(signed char, char, 2, 4)
GANOPS_VECTOR_TYPES(unsigned char, uchar, 2, 4)
GANOPS_VECTOR_TYPES(short, short, 4, 8)
GANOPS_VECTOR_TYPES(unsigned short, ushort, 4, 8)
GANOPS_VECTOR_TYPES(int, int, 8, 16)
GANOPS_VECTOR_TYPES(unsigned, uint, 8, 16)
GANOPS_VECTOR_TYPES(long, long, 16, 16)
GANOPS_VECTOR_TYPES(unsigned long, ulong, 16, 16)
GANOPS_VECTOR_TYPES(long long, longlong, 16, 16)
GANOPS_VECTOR_TYPES(unsigned long long, ulonglong, 16, 16)
GANOPS_VECTOR_TYPES(float, float, 8, 16)
GANOPS_VECTOR_TYPES(double, double, 16, 16)
#undef GANOPS_VECTOR_TYPES

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

// Declared const here, set by the scheduler: within one fiber they are, so the compiler may keep them in registers.
extern const uint3 threadIdx, blockIdx;
extern const dim3 blockDim, gridDim;
constexpr int warpSize = 32;

// --- Host API -----------------------------------------------------------------------------------------------------
enum cudaError {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorLaunchFailure = 719,
};
using cudaError_t = cudaError;

struct CUstream_st;
using cudaStream_t = CUstream_st*;

enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
};

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault,
};

enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated,
};

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};

enum cudaLaunchAttributeID { cudaLaunchAttributeIgnore = 0, cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
union cudaLaunchAttributeValue {
  char pad[64];
  int programmaticStreamSerializationAllowed;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream = nullptr);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id);
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                     unsigned long long* id = nullptr);
cudaError_t cudaDeviceSynchronize();

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*)(Parameters...), cudaFuncAttribute, int) {
  return cudaSuccess;
}

// What fits by threads alone: registers and shared memory are the compiler's and the card's business.
template <typename... Parameters>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void (*)(Parameters...), int block_size,
                                                          size_t) {
  if (block_size < 1 || block_size > 1024) return cudaErrorInvalidValue;
  const int fitting = 2048 / ((block_size + 31) / 32 * 32);
  *blocks = fitting < 32 ? fitting : 32;
  return cudaSuccess;
}

namespace ganops_emulation {

template <typename... Parameters>
struct Call {
  void (*kernel)(Parameters...);
  std::tuple<std::decay_t<Parameters>...> values;

  template <std::size_t... i>
  GANOPS_NO_INSTRUMENTATION void with(std::index_sequence<i...>) const {
    kernel(std::get<i>(values)...);
  }
  GANOPS_NO_INSTRUMENTATION static void run(const void* call) {
    static_cast<const Call*>(call)->with(std::index_sequence_for<Parameters...>());
  }
};

}  // namespace ganops_emulation

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  using Call = ganops_emulation::Call<Parameters...>;
  const Call call{kernel, std::tuple<std::decay_t<Parameters>...>(std::forward<Arguments>(arguments)...)};
  ganops_emulation::Launch launch;
  launch.grid = {config->gridDim.x, config->gridDim.y, config->gridDim.z};
  launch.block = {config->blockDim.x, config->blockDim.y, config->blockDim.z};
  launch.dynamic_shared_bytes = config->dynamicSmemBytes;
  launch.stream = config->stream;
  launch.kernel = reinterpret_cast<const void*>(kernel);
  launch.call = &Call::run;
  launch.parameters = &call;
  launch.parameter_bytes = sizeof call;
  launch.argument_bytes = (sizeof(std::decay_t<Parameters>) + ... + 0);
  return static_cast<cudaError_t>(ganops_emulation::launch(launch));
}

// --- Synchronisation ----------------------------------------------------------------------------------------------
#define GANOPS_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(GANOPS_SITE) { ganops_emulation::barrier(ganops_emulation::Vote::none, 0, {file, line}); }
inline int __syncthreads_count(int predicate, GANOPS_SITE) {
  return ganops_emulation::barrier(ganops_emulation::Vote::count, predicate, {file, line});
}
inline int __syncthreads_and(int predicate, GANOPS_SITE) {
  return ganops_emulation::barrier(ganops_emulation::Vote::all, predicate, {file, line});
}
inline int __syncthreads_or(int predicate, GANOPS_SITE) {
  return ganops_emulation::barrier(ganops_emulation::Vote::any, predicate, {file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, GANOPS_SITE) {
  ganops_emulation::warp(ganops_emulation::WarpOp::sync, mask, 0, 0, 32, {file, line});
}
inline void __threadfence() { ganops_emulation::fence(); }
inline void __threadfence_system() { ganops_emulation::fence(); }
inline void __threadfence_block() {}
inline unsigned __activemask() { return ganops_emulation::active_mask(); }

// --- Warp shuffles, votes and reductions --------------------------------------------------------------------------
namespace ganops_emulation {

template <typename T>
T shuffle(WarpOp op, unsigned mask, T value, int argument, int width, Site site) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4, "CUDA shuffles 4- and 8-byte arithmetic types");
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  return std::bit_cast<T>(static_cast<Bits>(warp(op, mask, std::bit_cast<Bits>(value), argument, width, site)));
}

}  // namespace ganops_emulation

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, GANOPS_SITE) {
  return ganops_emulation::shuffle(ganops_emulation::WarpOp::shuffle, mask, value, lane, width, {file, line});
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, GANOPS_SITE) {
  return ganops_emulation::shuffle(ganops_emulation::WarpOp::shuffle_up, mask, value, int(delta), width, {file, line});
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, GANOPS_SITE) {
  return ganops_emulation::shuffle(ganops_emulation::WarpOp::shuffle_down, mask, value, int(delta), width,
                                   {file, line});
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, GANOPS_SITE) {
  return ganops_emulation::shuffle(ganops_emulation::WarpOp::shuffle_xor, mask, value, lane_mask, width, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, GANOPS_SITE) {
  return unsigned(ganops_emulation::warp(ganops_emulation::WarpOp::ballot, mask, predicate != 0, 0, 32, {file, line}));
}
inline int __all_sync(unsigned mask, int predicate, GANOPS_SITE) {
  return int(ganops_emulation::warp(ganops_emulation::WarpOp::all, mask, predicate != 0, 0, 32, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, GANOPS_SITE) {
  return int(ganops_emulation::warp(ganops_emulation::WarpOp::any, mask, predicate != 0, 0, 32, {file, line}));
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value, GANOPS_SITE) {
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  return unsigned(
      ganops_emulation::warp(ganops_emulation::WarpOp::match, mask, std::bit_cast<Bits>(value), 0, 32, {file, line}));
}

#define GANOPS_REDUCE(name, type, expression)                                                                        \
  inline type name(unsigned mask, type value, GANOPS_SITE) {                                                         \
    return type(ganops_emulation::warp(ganops_emulation::WarpOp::reduce, mask, unsigned(value), 0, 32, {file, line}, \
                                       [](unsigned p, unsigned q) {                                                  \
                                         [[maybe_unused]] const type a = type(p), b = type(q);                       \
                                         return unsigned(expression);                                                \
                                       }));                                                                          \
  }
GANOPS_REDUCE(__reduce_add_sync, unsigned, a + b)
GANOPS_REDUCE(__reduce_add_sync, int, p + q)
GANOPS_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
GANOPS_REDUCE(__reduce_min_sync, int, a < b ? a : b)
GANOPS_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
GANOPS_REDUCE(__reduce_max_sync, int, a > b ? a : b)
GANOPS_REDUCE(__reduce_and_sync, unsigned, a& b)
GANOPS_REDUCE(__reduce_or_sync, unsigned, a | b)
GANOPS_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
#undef GANOPS_REDUCE

// --- Atomics: fibers switch only at rendezvous, so a plain read-modify-write is atomic -----------------------------
#define GANOPS_ATOMIC(name, expression)                                         \
  template <typename T>                                                         \
  GANOPS_NO_INSTRUMENTATION T name(T* address, std::type_identity_t<T> value) { \
    ganops_emulation::on_atomic(address, sizeof(T));                            \
    const T old = *address;                                                     \
    *address = T(expression);                                                   \
    return old;                                                                 \
  }                                                                             \
  template <typename T>                                                         \
  T name##_block(T* address, std::type_identity_t<T> value) {                   \
    return name(address, value);                                                \
  }                                                                             \
  template <typename T>                                                         \
  T name##_system(T* address, std::type_identity_t<T> value) {                  \
    return name(address, value);                                                \
  }
GANOPS_ATOMIC(atomicAdd, old + value)
GANOPS_ATOMIC(atomicSub, old - value)
GANOPS_ATOMIC(atomicExch, value)
GANOPS_ATOMIC(atomicMin, old < value ? old : value)
GANOPS_ATOMIC(atomicMax, old > value ? old : value)
GANOPS_ATOMIC(atomicAnd, old& value)
GANOPS_ATOMIC(atomicOr, old | value)
GANOPS_ATOMIC(atomicXor, old ^ value)
GANOPS_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
GANOPS_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef GANOPS_ATOMIC

template <typename T>
GANOPS_NO_INSTRUMENTATION T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> desired) {
  ganops_emulation::on_atomic(address, sizeof(T));
  const T old = *address;
  if (old == expected) *address = desired;
  return old;
}

// --- Loads and stores with cache hints: the plain access ----------------------------------------------------------
#define GANOPS_LOAD(name)    \
  template <typename T>      \
  T name(const T* address) { \
    return *address;         \
  }
#define GANOPS_STORE(name)                               \
  template <typename T>                                  \
  void name(T* address, std::type_identity_t<T> value) { \
    *address = value;                                    \
  }
template <typename T>
T __ldg(const T* address, GANOPS_SITE) {
  ganops_emulation::on_read_only(address, sizeof(T), {file, line});
  return *address;
}
GANOPS_LOAD(__ldca)
GANOPS_LOAD(__ldcg)
GANOPS_LOAD(__ldcs)
GANOPS_LOAD(__ldcv)
GANOPS_LOAD(__ldlu)
GANOPS_STORE(__stcg)
GANOPS_STORE(__stcs)
GANOPS_STORE(__stwb)
GANOPS_STORE(__stwt)
#undef GANOPS_LOAD
#undef GANOPS_STORE

// --- Arithmetic ---------------------------------------------------------------------------------------------------
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / ::sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __saturatef(float x) { return x > 1.0f ? 1.0f : x > 0.0f ? x : 0.0f; }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline int __clzll(long long x) { return std::countl_zero(uint64_t(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(unsigned(x)) + 1; }
inline int __ffsll(long long x) { return x == 0 ? 0 : std::countr_zero(uint64_t(x)) + 1; }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned((uint64_t(x) * y) >> 32); }

template <typename A, typename B>
  requires(std::is_arithmetic_v<A> && std::is_arithmetic_v<B>)
constexpr auto max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>)
    return T(::fmax(T(a), T(b)));  // like CUDA's: a NaN loses
  else
    return T(a) > T(b) ? T(a) : T(b);
}
template <typename A, typename B>
  requires(std::is_arithmetic_v<A> && std::is_arithmetic_v<B>)
constexpr auto min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>)
    return T(::fmin(T(a), T(b)));
  else
    return T(a) < T(b) ? T(a) : T(b);
}

inline void __trap() { abort(); }
