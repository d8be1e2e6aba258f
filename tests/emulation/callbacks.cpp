// The functions that instrumented kernels call. -fsanitize=thread makes the compiler announce every load and store,
// -fsanitize=undefined every undefined operation; neither sanitizer's own runtime is linked, the emulator answers.
#ifdef GANOPS_INSTRUMENTED

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "runtime.h"

using ganops_emulation::Access;

#define GANOPS_CALLER __builtin_return_address(0)
#define GANOPS_EXPORT extern "C" __attribute__((visibility("hidden")))

GANOPS_EXPORT void __tsan_init() {}
GANOPS_EXPORT void __tsan_func_entry(void*) {}
GANOPS_EXPORT void __tsan_func_exit() {}

namespace {
// Most accesses are to the thread's own stack, and are nobody else's business.
inline void announce(const void* p, std::size_t bytes, Access kind, const void* caller) {
  if (!ganops_emulation::on_stack(p)) ganops_emulation::access(p, bytes, kind, caller);
}
}  // namespace

#define GANOPS_ACCESS(name, bytes, kind) \
  GANOPS_EXPORT void __tsan_##name##bytes(void* p) { announce(p, bytes, Access::kind, GANOPS_CALLER); }
#define GANOPS_PLAIN(bytes)                    \
  GANOPS_ACCESS(read, bytes, read)             \
  GANOPS_ACCESS(write, bytes, write)           \
  GANOPS_ACCESS(unaligned_read, bytes, read)   \
  GANOPS_ACCESS(unaligned_write, bytes, write) \
  GANOPS_ACCESS(volatile_read, bytes, read)    \
  GANOPS_ACCESS(volatile_write, bytes, write)
GANOPS_PLAIN(1)
GANOPS_PLAIN(2)
GANOPS_PLAIN(4)
GANOPS_PLAIN(8)
GANOPS_PLAIN(16)

GANOPS_EXPORT void __tsan_read_range(void* p, std::size_t bytes) { announce(p, bytes, Access::read, GANOPS_CALLER); }
GANOPS_EXPORT void __tsan_write_range(void* p, std::size_t bytes) { announce(p, bytes, Access::write, GANOPS_CALLER); }
GANOPS_EXPORT void __tsan_vptr_update(void**, void*) {}
GANOPS_EXPORT void __tsan_vptr_read(void**) {}

// std::atomic and the guards of function-local statics, in the host code beside the kernels.
#define GANOPS_FETCH(bits, type, name)                                                   \
  GANOPS_EXPORT type __tsan_atomic##bits##_fetch_##name(volatile type* p, type v, int) { \
    return __atomic_fetch_##name(p, v, __ATOMIC_SEQ_CST);                                \
  }
#define GANOPS_HOST_ATOMIC(bits, type)                                                                                \
  GANOPS_EXPORT type __tsan_atomic##bits##_load(const volatile type* p, int) {                                        \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                      \
  }                                                                                                                   \
  GANOPS_EXPORT void __tsan_atomic##bits##_store(volatile type* p, type v, int) {                                     \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                         \
  }                                                                                                                   \
  GANOPS_EXPORT type __tsan_atomic##bits##_exchange(volatile type* p, type v, int) {                                  \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                               \
  }                                                                                                                   \
  GANOPS_FETCH(bits, type, add)                                                                                       \
  GANOPS_FETCH(bits, type, sub)                                                                                       \
  GANOPS_FETCH(bits, type, and)                                                                                       \
  GANOPS_FETCH(bits, type, or)                                                                                        \
  GANOPS_FETCH(bits, type, xor)                                                                                       \
  GANOPS_EXPORT int __tsan_atomic##bits##_compare_exchange_strong(volatile type* p, type* expected, type v, int,      \
                                                                  int) {                                              \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                    \
  }                                                                                                                   \
  GANOPS_EXPORT int __tsan_atomic##bits##_compare_exchange_weak(volatile type* p, type* expected, type v, int, int) { \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                    \
  }
GANOPS_HOST_ATOMIC(8, std::uint8_t)
GANOPS_HOST_ATOMIC(16, std::uint16_t)
GANOPS_HOST_ATOMIC(32, std::uint32_t)
GANOPS_HOST_ATOMIC(64, std::uint64_t)
GANOPS_EXPORT void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

namespace {

// The head of the data of every check.
struct Location {
  const char* file;
  std::uint32_t line, column;
};

void undefined(const char* what, const void* data, const std::string& detail = "") {
  const auto* location = static_cast<const Location*>(data);
  const std::string text = what + (detail.empty() ? "" : " " + detail);
  if (ganops_emulation::on_fiber()) {
    ganops_emulation::report("undefined behaviour", text, nullptr, {location->file, int(location->line)});
  }
  ganops_emulation::report_at_host("undefined behaviour",
                                   text + " at " + location->file + ":" + std::to_string(location->line));
}

struct TypeDescriptor {
  std::uint16_t kind, info;
  char name[1];
};
struct OutOfBounds {
  Location location;
  const TypeDescriptor *array, *index;
};
struct TypeMismatch {
  Location location;
  const TypeDescriptor* type;
  unsigned char log_alignment, kind;
};

}  // namespace

// An index beyond a declared array, of shared memory first of all.
GANOPS_EXPORT void __ubsan_handle_out_of_bounds(void* data, std::uintptr_t index) {
  undefined(
      "index", data,
      std::to_string(std::intptr_t(index)) + " is out of bounds for " + static_cast<OutOfBounds*>(data)->array->name);
}
GANOPS_EXPORT void __ubsan_handle_type_mismatch_v1(void* data, std::uintptr_t pointer) {
  const auto* mismatch = static_cast<TypeMismatch*>(data);
  const std::size_t alignment = std::size_t(1) << mismatch->log_alignment;
  if (pointer % alignment == 0) return undefined("access through a null pointer to", data, mismatch->type->name);
  char text[128];
  std::snprintf(text, sizeof text, "to %s at 0x%zx, not a multiple of %zu", mismatch->type->name, std::size_t(pointer),
                alignment);
  undefined("misaligned access", data, text);
}

#define GANOPS_UNDEFINED(handler, text) \
  GANOPS_EXPORT void __ubsan_handle_##handler(void* data) { undefined(text, data); }
GANOPS_UNDEFINED(add_overflow, "signed addition overflows")
GANOPS_UNDEFINED(sub_overflow, "signed subtraction overflows")
GANOPS_UNDEFINED(mul_overflow, "signed multiplication overflows")
GANOPS_UNDEFINED(negate_overflow, "signed negation overflows")
GANOPS_UNDEFINED(divrem_overflow, "division by zero or overflow of a division")
GANOPS_UNDEFINED(shift_out_of_bounds, "shift by a negative amount or by more than the width")
GANOPS_UNDEFINED(builtin_unreachable, "unreachable code reached")
GANOPS_UNDEFINED(missing_return, "function ends without a value")

#endif
