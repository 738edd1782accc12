// soak_model.h - what soak_load.cc knows of its files: names, links, sizes and every 512 bytes of content, in some hundred bytes each.
//
// Content is a function of a stamp and a place, so a file is a few runs of stamps. A model is written down at the end and read back
// after another mount (save(), load()).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "seeded.h"

namespace soak {

constexpr std::size_t kChunkBytes = 512;

// The bytes of chunk `chunk` under `stamp`; stamp 0 is a hole.
inline void fill_chunk(char* into, std::uint32_t stamp, std::uint32_t chunk) {
  if (stamp == 0) {
    std::memset(into, 0, kChunkBytes);
    return;
  }
  std::uint64_t word = mix(std::uint64_t{stamp} << 32 | chunk);
  for (std::size_t at = 0; at < kChunkBytes; at += sizeof word, word += 0x9e3779b97f4a7c15ULL)
    std::memcpy(into + at, &word, sizeof word);
}

struct Run {
  std::uint32_t first, count, stamp;
  [[nodiscard]] std::uint32_t end() const { return first + count; }
};

struct Inode {
  std::uint32_t chunks = 0;  // size
  std::uint32_t links = 0;
  std::uint32_t attribute = 0;  // stamp of the extended attribute; 0: none
  std::uint32_t attribute_bytes = 0;
  std::vector<Run> runs;  // ascending, apart

  void cut(std::uint32_t first, std::uint32_t end) {
    std::vector<Run> kept;
    for (const Run& run : runs) {
      if (run.first < first) kept.push_back({run.first, std::min(run.end(), first) - run.first, run.stamp});
      if (run.end() > end) {
        const std::uint32_t start = std::max(run.first, end);
        kept.push_back({start, run.end() - start, run.stamp});
      }
    }
    runs = std::move(kept);
  }
  void write(std::uint32_t first, std::uint32_t count, std::uint32_t stamp) {
    cut(first, first + count);
    const Run run{first, count, stamp};
    runs.insert(
        std::lower_bound(runs.begin(), runs.end(), run, [](const Run& a, const Run& b) { return a.first < b.first; }),
        run);
    chunks = std::max(chunks, first + count);
  }
  void truncate(std::uint32_t to) {
    if (to < chunks) cut(to, ~std::uint32_t{0});
    chunks = to;
  }
};

struct Directory;
struct Name {
  std::uint32_t number;
  std::uint32_t place;     // in Model::names
  std::uint32_t in_place;  // in Directory::names
  Directory* in;
  Inode* inode;
};

struct Directory {
  std::uint32_t number = 0;
  std::uint32_t place = 0;     // in Model::directories
  std::uint32_t in_place = 0;  // in the parent's `directories`
  std::uint32_t depth = 0;     // as it was when it was made
  Directory* in = nullptr;
  std::vector<Directory*> directories;
  std::vector<Name*> names;

  [[nodiscard]] std::string path() const {
    if (in == nullptr) return ".";
    return in->path() + "/d" + std::to_string(number);
  }
  [[nodiscard]] bool is_below(const Directory* other) const {
    for (const Directory* at = this; at != nullptr; at = at->in) {
      if (at == other) return true;
    }
    return false;
  }
};

inline std::string path_of(const Name& name) { return name.in->path() + "/f" + std::to_string(name.number); }

// Takes an element out of a vector whose elements know their place.
template <typename T>
void take_out(std::vector<T*>& all, std::uint32_t T::* place, T* what) {
  T* const last = all.back();
  all[what->*place] = last;
  last->*place = what->*place;
  all.pop_back();
}
template <typename T>
void put_in(std::vector<T*>& all, std::uint32_t T::* place, T* what) {
  what->*place = static_cast<std::uint32_t>(all.size());
  all.push_back(what);
}

class Model {
 public:
  Model() { put_in(directories, &Directory::place, new Directory); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model() {
    while (!names.empty()) remove_name(names.back());
    for (Directory* directory : directories) delete directory;
  }

  std::vector<Directory*> directories;  // the first is the top
  std::vector<Name*> names;
  std::uint32_t next_number = 1;  // names are given once, so that a listing cannot take one for another
  std::uint32_t next_stamp = 1;

  Name* add_name(Directory* in, std::uint32_t number, Inode* inode) {
    auto* name = new Name{.number = number, .place = 0, .in_place = 0, .in = in, .inode = inode};
    ++inode->links;
    put_in(names, &Name::place, name);
    put_in(in->names, &Name::in_place, name);
    return name;
  }
  void remove_name(Name* name) {
    take_out(names, &Name::place, name);
    take_out(name->in->names, &Name::in_place, name);
    if (--name->inode->links == 0) delete name->inode;
    delete name;
  }
  void move_name(Name* name, Directory* to, std::uint32_t number) {
    take_out(name->in->names, &Name::in_place, name);
    name->in = to;
    name->number = number;
    put_in(to->names, &Name::in_place, name);
  }
  Directory* add_directory(Directory* in, std::uint32_t number) {
    auto* directory = new Directory;
    directory->number = number;
    directory->in = in;
    directory->depth = in->depth + 1;
    put_in(directories, &Directory::place, directory);
    put_in(in->directories, &Directory::in_place, directory);
    return directory;
  }
  void remove_directory(Directory* directory) {
    take_out(directories, &Directory::place, directory);
    take_out(directory->in->directories, &Directory::in_place, directory);
    delete directory;
  }
  void move_directory(Directory* directory, Directory* to, std::uint32_t number) {
    take_out(directory->in->directories, &Directory::in_place, directory);
    directory->in = to;
    directory->number = number;
    put_in(to->directories, &Directory::in_place, directory);
  }

  bool save(const std::string& file) const {
    std::FILE* out = std::fopen(file.c_str(), "w");
    if (out == nullptr) return false;
    // A directory's parent may stand behind it, so all get an index first.
    for (const Directory* each : directories) {
      if (each->in != nullptr) std::fprintf(out, "d %u %u %u\n", each->place, each->number, each->in->place);
    }
    std::unordered_map<const Inode*, std::uint32_t> inodes;
    for (const Name* each : names) {
      const Inode& inode = *each->inode;
      const auto [at, is_new] = inodes.emplace(&inode, static_cast<std::uint32_t>(inodes.size()));
      if (is_new) {
        std::fprintf(out, "i %u %u %u %zu", inode.chunks, inode.attribute, inode.attribute_bytes, inode.runs.size());
        for (const Run& run : inode.runs) std::fprintf(out, " %u %u %u", run.first, run.count, run.stamp);
        std::fputc('\n', out);
      }
      std::fprintf(out, "n %u %u %u\n", each->number, each->in->place, at->second);
    }
    return std::fclose(out) == 0;
  }
  // Into a fresh model.
  bool load(const std::string& file) {
    std::FILE* in = std::fopen(file.c_str(), "r");
    if (in == nullptr) return false;
    std::vector<Inode*> inodes;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> parents;  // place, parent's place
    bool sound = true;
    char kind = 0;
    while (sound && std::fscanf(in, " %c", &kind) == 1) {
      std::uint32_t a = 0, b = 0, c = 0;
      std::size_t count = 0;
      if (kind == 'd') {
        sound = std::fscanf(in, "%u %u %u", &a, &b, &c) == 3 && a == directories.size();
        if (!sound) break;
        auto* directory = new Directory;
        directory->number = b;
        put_in(directories, &Directory::place, directory);
        parents.emplace_back(a, c);
      } else if (kind == 'i') {
        sound = std::fscanf(in, "%u %u %u %zu", &a, &b, &c, &count) == 4;
        auto* inode = new Inode{.chunks = a, .links = 0, .attribute = b, .attribute_bytes = c, .runs = {}};
        inodes.push_back(inode);
        for (; sound && count != 0; --count) {
          Run run{};
          sound = std::fscanf(in, "%u %u %u", &run.first, &run.count, &run.stamp) == 3;
          inode->runs.push_back(run);
        }
      } else {
        sound =
            kind == 'n' && std::fscanf(in, "%u %u %u", &a, &b, &c) == 3 && b < directories.size() && c < inodes.size();
        if (sound) add_name(directories[b], a, inodes[c]);
      }
    }
    std::fclose(in);
    for (const auto& [place, parent] : parents) {
      Directory* const directory = directories[place];
      directory->in = directories[parent];
      put_in(directory->in->directories, &Directory::in_place, directory);
    }
    return sound;
  }
};

}  // namespace soak
