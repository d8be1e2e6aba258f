// Names: kernels and shared variables from this library's own symbol table, source lines from its debug information.
#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "runtime.h"

namespace ganops_emulation {
namespace {

// Makes the thread-local segment exist, and touches it so that the loader allocates the calling thread's copy.
thread_local volatile char anchor;

std::string demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

// "void ns::kernel<float>(float*, int)" -> "kernel<float>": what a reader of a report needs.
std::string short_name(std::string name) {
  for (const char* noise : {"(anonymous namespace)::", "unsigned ", "ganops::", "cuda::"}) {
    for (std::size_t at; (at = name.find(noise)) != std::string::npos;) name.erase(at, std::strlen(noise));
  }
  int depth = 0;
  std::size_t end = name.size(), begin = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (depth == 0 && name[i] == ' ') begin = i + 1;
    if (depth == 0 && name[i] == '(') {
      end = i;
      break;
    }
  }
  return name.substr(begin, end - begin);
}

// __shared__ variables are local to functions (_ZZ...); libraries have thread-local variables of that kind too.
bool is_shared(const char* name) {
  return std::strncmp(name, "_ZZ", 3) == 0 && std::strncmp(name, "_ZZNSt", 6) != 0 &&
         std::strstr(name, "pybind11") == nullptr;
}

struct Symbols {
  std::map<std::uintptr_t, std::string> functions;  // offset from the image base -> mangled name
  std::vector<SharedVariable> shared;
  std::string path;
  std::uintptr_t base = 0;

  Symbols() {
    Dl_info info{};
    if (dladdr(reinterpret_cast<void*>(&locate_image), &info) == 0) return;
    path = info.dli_fname;
    base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    if (file < 0 || fstat(file, &status) != 0) return;
    void* map = mmap(nullptr, std::size_t(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (map == MAP_FAILED) return;
    read(static_cast<const char*>(map));
    munmap(map, std::size_t(status.st_size));
  }

  void read(const char* bytes) {
    const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(bytes);
    const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(bytes + header->e_shoff);
    for (int i = 0; i < header->e_shnum; ++i) {
      if (sections[i].sh_type != SHT_SYMTAB) continue;
      const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(bytes + sections[i].sh_offset);
      const char* names = bytes + sections[sections[i].sh_link].sh_offset;
      for (std::size_t j = 0; j < sections[i].sh_size / sizeof *symbols; ++j) {
        const auto& symbol = symbols[j];
        const char* name = names + symbol.st_name;
        const int type = symbol.st_info & 15;
        if (type == STT_FUNC && symbol.st_value != 0) functions.emplace(symbol.st_value, name);
        if (type == STT_TLS && symbol.st_shndx != SHN_UNDEF && is_shared(name)) {
          shared.push_back({symbol.st_value, symbol.st_size, demangled(name)});
        }
      }
    }
    std::sort(shared.begin(), shared.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  }
};

const Symbols& symbols() {
  static const Symbols value;
  return value;
}

}  // namespace

Image locate_image() {
  anchor = 0;
  Image image;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        Image candidate;
        candidate.base = info->dlpi_addr;
        bool ours = false;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr, end = begin + segment.p_memsz;
          if (segment.p_type == PT_LOAD) {
            const auto self = reinterpret_cast<std::uintptr_t>(&locate_image);
            ours = ours || (self >= begin && self < end);
            (segment.p_flags & PF_W ? candidate.writable : candidate.constant).emplace_back(begin, end);
          } else if (segment.p_type == PT_TLS) {
            candidate.tls_begin = reinterpret_cast<std::uintptr_t>(info->dlpi_tls_data);
            candidate.tls_bytes = segment.p_memsz;
          }
        }
        if (ours) *static_cast<Image*>(out) = candidate;
        return int(ours);
      },
      &image);
  return image;
}

const std::vector<SharedVariable>& shared_variables() { return symbols().shared; }

std::string function_name(const void* address) {
  const auto& functions = symbols().functions;
  const auto found = functions.find(reinterpret_cast<std::uintptr_t>(address) - symbols().base);
  return found == functions.end() ? "kernel" : short_name(demangled(found->second.c_str()));
}

// One addr2line per fault: a fault ends a launch, so this is never hot.
std::string source_line(const void* pc) {
  if (pc == nullptr || symbols().path.empty()) return "";
  char command[4096];
  // A return address lies behind its call, so step back into it.
  std::snprintf(command, sizeof command, "LD_PRELOAD= addr2line -e '%s' 0x%zx 2>/dev/null", symbols().path.c_str(),
                std::size_t(reinterpret_cast<std::uintptr_t>(pc) - symbols().base - 1));
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return "";
  char line[2048] = "";
  const bool read = std::fgets(line, sizeof line, pipe) != nullptr;
  pclose(pipe);
  std::string text = read ? line : "";
  text.erase(std::find_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == ' '; }), text.end());
  if (text.rfind("??", 0) == 0) return "";
  const auto slash = text.rfind('/');
  return slash == std::string::npos ? text : text.substr(slash + 1);
}

}  // namespace ganops_emulation
