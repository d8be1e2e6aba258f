// A stack to switch to and back. On x86-64 a switch saves the six registers the ABI asks a callee to keep (2 ns);
// elsewhere, or with GANOPS_UCONTEXT, it is ucontext's (a system call each way).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if !defined(__x86_64__) && !defined(GANOPS_UCONTEXT)
#define GANOPS_UCONTEXT 1
#endif

#ifdef GANOPS_UCONTEXT
#include <ucontext.h>
#endif
#ifdef GANOPS_SANITIZE
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace ganops_emulation {

using Entry = void (*)();

#ifdef GANOPS_UCONTEXT
struct Context {
  ucontext_t context;
};
inline void start_at(Context& context, char* stack, std::size_t bytes, Entry entry) {
  getcontext(&context.context);
  context.context.uc_stack.ss_sp = stack;
  context.context.uc_stack.ss_size = bytes;
  context.context.uc_link = nullptr;
  makecontext(&context.context, entry, 0);
}
inline void raw_switch(Context& from, Context& to) { swapcontext(&from.context, &to.context); }
#else
struct Context {
  void* stack_pointer;
};
extern "C" __attribute__((visibility("hidden"))) void ganops_emulation_switch(void** from, void* to);
inline void start_at(Context& context, char* stack, std::size_t bytes, Entry entry) {
  // What ganops_emulation_switch pops: six registers and the address to return to; above it a null return address
  // ends backtraces and leaves the stack aligned as after a call.
  auto* top = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(stack + bytes) & ~std::uintptr_t(15));
  top -= 1;
  top[0] = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  top -= 6;
  std::memset(top, 0, 6 * sizeof *top);
  context.stack_pointer = top;
}
inline void raw_switch(Context& from, Context& to) { ganops_emulation_switch(&from.stack_pointer, to.stack_pointer); }
#endif

// AddressSanitizer must be told of each change of stack; without GANOPS_SANITIZE these are the bare switch.
struct StackSpan {
  const void* bottom = nullptr;
  std::size_t bytes = 0;
};
#ifdef GANOPS_SANITIZE
inline void switch_to(Context& from, Context& to, const StackSpan& target, bool leaving_for_good = false) {
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(leaving_for_good ? nullptr : &fake_stack, target.bottom, target.bytes);
  raw_switch(from, to);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}
inline void arrived_first_time() { __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr); }
inline StackSpan own_stack() {
  pthread_attr_t attributes;
  void* bottom = nullptr;
  std::size_t bytes = 0;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &bottom, &bytes);
  pthread_attr_destroy(&attributes);
  return {bottom, bytes};
}
// A fiber left in mid-kernel never unwinds: its red zones would outlive it.
inline void clean(char* stack, std::size_t bytes) { __asan_unpoison_memory_region(stack, bytes); }
#else
inline void switch_to(Context& from, Context& to, const StackSpan&, bool = false) { raw_switch(from, to); }
inline void arrived_first_time() {}
inline StackSpan own_stack() { return {}; }
inline void clean(char*, std::size_t) {}
#endif

}  // namespace ganops_emulation
