// One wheel runs on every x86-64: each CPU source is compiled once per instruction set, into a namespace of that name,
// and the best one that the machine has is taken at run time. GANOPS_CPU_ISA=baseline|avx2|avx512 takes a lesser one.
#pragma once

namespace ganops::cpu {

enum class Isa { baseline, avx2, avx512 };

Isa isa();
const char* isa_name();

}  // namespace ganops::cpu

#if defined(__x86_64__)
#define GANOPS_CPU_TABLE(Table, name) \
  namespace ganops::cpu {             \
  namespace baseline {                \
  extern const Table name;            \
  }                                   \
  namespace avx2 {                    \
  extern const Table name;            \
  }                                   \
  namespace avx512 {                  \
  extern const Table name;            \
  }                                   \
  inline const Table& name() {        \
    switch (isa()) {                  \
      case Isa::avx512:               \
        return avx512::name;          \
      case Isa::avx2:                 \
        return avx2::name;            \
      default:                        \
        return baseline::name;        \
    }                                 \
  }                                   \
  }
#else
#define GANOPS_CPU_TABLE(Table, name)                   \
  namespace ganops::cpu {                               \
  namespace baseline {                                  \
  extern const Table name;                              \
  }                                                     \
  inline const Table& name() { return baseline::name; } \
  }
#endif
