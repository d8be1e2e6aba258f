#include "isa.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace ganops::cpu {

namespace {

Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  Isa best = Isa::baseline;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = Isa::avx2;
  if (best == Isa::avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    best = Isa::avx512;
  }
  if (const char* wanted = std::getenv("GANOPS_CPU_ISA")) {
    if (std::strcmp(wanted, "baseline") == 0) return Isa::baseline;
    if (std::strcmp(wanted, "avx2") == 0 && best == Isa::avx512) return Isa::avx2;
  }
  return best;
#else
  return Isa::baseline;
#endif
}

int64_t last_level_cache() {
  if (const char* wanted = std::getenv("GANOPS_CPU_CACHE")) return std::strtoll(wanted, nullptr, 10);
#if defined(_SC_LEVEL3_CACHE_SIZE)
  const int64_t reported = sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0 or -1 if the kernel does not know
#else
  const int64_t reported = 0;
#endif
  return std::max<int64_t>(reported, 8 << 20);
}

}  // namespace

extern const int64_t past_cache = last_level_cache();

Isa isa() {
  static const Isa chosen = detect();
  return chosen;
}

const char* isa_name() {
  switch (isa()) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

}  // namespace ganops::cpu
