#include "tests/fs/fault_steps.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "kernel/check.h"
#include "kernel/memory_disk.h"
#include "kernel/units.h"
#include "tests/support/sample_tree.h"

namespace weft::fs::test {
namespace {

constexpr std::uint64_t kVolumeBytes = 12 * kMiB;

// Effects on what is at a path, or at two.
using Id = TreeModel::Id;
using Code = TreeModel::Code;
Effect effect_at(std::string path, std::function<Code(TreeModel&, Id)> change) {
  return [path = std::move(path), change = std::move(change)](TreeModel& model) -> Code {
    const auto id = find(model, path);
    return id ? change(model, *id) : Errc::kNotFound;
  };
}
Effect effect_at(std::string first, std::string second, std::function<Code(TreeModel&, Id, Id)> change) {
  return [first = std::move(first), second = std::move(second), change = std::move(change)](TreeModel& model) -> Code {
    const auto a = find(model, first), b = find(model, second);
    return a && b ? change(model, *a, *b) : Errc::kNotFound;
  };
}

template <typename T>
Status dropped(const Result<T>& result) {
  if (!result) return fail(result.error());
  return {};
}
Status forgotten(FileSystem& fs, const Result<Attributes>& result) {
  if (!result) return fail(result.error());
  fs.forget(result->inode, 1);
  return {};
}

std::string noise(std::size_t size, std::uint64_t seed) {
  std::string bytes(size, '\0');
  std::uint64_t word = seed * 0x9e3779b97f4a7c15u + 1;
  for (char& byte : bytes) byte = static_cast<char>((word = word * 6364136223846793005u + 1442695040888963407u) >> 56);
  return bytes;
}

FaultStep make(const char* name, std::string path, std::uint32_t mode, std::string target = "") {
  return {name,
          [=](FileSystem& fs) -> Status {
            const InodeNo parent = TRY(find(fs, parent_of(path)));
            if (S_ISDIR(mode)) return forgotten(fs, fs.make_directory({}, parent, name_of(path), mode & 07777));
            if (S_ISLNK(mode)) return forgotten(fs, fs.make_symlink({}, parent, name_of(path), target));
            return forgotten(fs, fs.make_node({}, parent, name_of(path), {.mode = mode}));
          },
          {effect_at(parent_of(path), [=](TreeModel& model, Id parent) {
            Id id = 0;
            return model.make(parent, name_of(path), mode, target, id);
          })}};
}
Effect writing(std::string path, std::uint64_t offset, std::string bytes) {
  return effect_at(path, [=](TreeModel& model, Id id) { return model.write(id, offset, bytes); });
}
FaultStep write(const char* name, std::string path, std::uint64_t offset, std::string bytes) {
  FaultStep step{name,
                 [=](FileSystem& fs) -> Status {
                   const std::size_t done = TRY(fs.write(TRY(find(fs, path)), offset, to_bytes(bytes), false));
                   return done == bytes.size() ? Status{} : fail(Errc::kNoSpace);
                 },
                 {writing(path, offset, bytes)}};
  for (std::uint64_t end = round_up(offset + 1, kBlockBytes); end < offset + bytes.size(); end += kBlockBytes)
    step.partly.push_back(writing(path, offset, bytes.substr(0, end - offset)));
  return step;
}
FaultStep append(const char* name, std::string path, std::string bytes) {
  return {
      name,
      [=](FileSystem& fs) -> Status { return dropped(fs.write(TRY(find(fs, path)), 0, to_bytes(bytes), false, true)); },
      {effect_at(path, [=](TreeModel& model, Id id) { return model.write(id, model.at(id).node.size_bytes, bytes); })}};
}
FaultStep truncate(const char* name, std::string path, std::uint64_t size) {
  return {name,
          [=](FileSystem& fs) -> Status {
            return dropped(
                fs.set_attributes({}, TRY(find(fs, path)), {.fields = AttributeChange::kSize, .size_bytes = size}));
          },
          {effect_at(path, [=](TreeModel& model, Id id) { return model.truncate(id, size); })}};
}
FaultStep allocate(const char* name, std::string path, AllocateMode mode, std::uint64_t offset, std::uint64_t length) {
  FaultStep step{
      name, [=](FileSystem& fs) -> Status { return fs.allocate(TRY(find(fs, path)), mode, offset, length); }, {}};
  if (mode == AllocateMode::kPunchHole || mode == AllocateMode::kZeroRange || mode == AllocateMode::kZeroRangeKeepSize)
    step.effects.push_back(effect_at(path, [=](TreeModel& model, Id id) { return model.punch(id, offset, length); }));
  if (mode == AllocateMode::kReserve || mode == AllocateMode::kZeroRange)
    step.effects.push_back(effect_at(path, [=](TreeModel& model, Id id) {
      return model.truncate(id, std::max(model.at(id).node.size_bytes, offset + length));
    }));
  return step;
}
FaultStep rename(const char* name, std::string from, std::string to, std::uint32_t flags = 0) {
  return {name,
          [=](FileSystem& fs) -> Status {
            return fs.rename({}, TRY(find(fs, parent_of(from))), name_of(from), TRY(find(fs, parent_of(to))),
                             name_of(to), flags);
          },
          {effect_at(parent_of(from), parent_of(to), [=](TreeModel& model, Id from_parent, Id to_parent) {
            return model.rename(from_parent, name_of(from), to_parent, name_of(to), flags);
          })}};
}
FaultStep unlink(const char* name, std::string path) {
  return {
      name,
      [=](FileSystem& fs) -> Status { return fs.unlink({}, TRY(find(fs, parent_of(path))), name_of(path)); },
      {effect_at(parent_of(path), [=](TreeModel& model, Id parent) { return model.unlink(parent, name_of(path)); })}};
}
FaultStep rmdir(const char* name, std::string path) {
  return {
      name,
      [=](FileSystem& fs) -> Status { return fs.remove_directory({}, TRY(find(fs, parent_of(path))), name_of(path)); },
      {effect_at(parent_of(path),
                 [=](TreeModel& model, Id parent) { return model.remove_directory(parent, name_of(path)); })}};
}
FaultStep link(const char* name, std::string from, std::string to) {
  return {name,
          [=](FileSystem& fs) -> Status {
            return forgotten(fs, fs.link(TRY(find(fs, from)), TRY(find(fs, parent_of(to))), name_of(to)));
          },
          {effect_at(from, parent_of(to),
                     [=](TreeModel& model, Id file, Id parent) { return model.link(file, parent, name_of(to)); })}};
}
FaultStep set_xattr(const char* name, std::string path, std::string key, std::string value) {
  return {name,
          [=](FileSystem& fs) -> Status {
            return fs.set_xattr({}, TRY(find(fs, path)), key, to_bytes(value), FileSystem::XattrMode::kEither, false);
          },
          {effect_at(path, [=](TreeModel& model, Id id) -> Code {
            model.at(id).node.xattrs[key] = value;
            return {};
          })}};
}
FaultStep remove_xattr(const char* name, std::string path, std::string key) {
  return {name,
          [=](FileSystem& fs) -> Status { return fs.remove_xattr({}, TRY(find(fs, path)), key); },
          {effect_at(path, [=](TreeModel& model, Id id) {
            return model.at(id).node.xattrs.erase(key) == 1 ? Code{} : Errc::kNoData;
          })}};
}
FaultStep chmod(const char* name, std::string path, std::uint32_t mode) {
  return {
      name,
      [=](FileSystem& fs) -> Status {
        return dropped(fs.set_attributes({}, TRY(find(fs, path)), {.fields = AttributeChange::kMode, .mode = mode}));
      },
      {effect_at(path, [=](TreeModel& model, Id id) -> Code {
        SnapshotNode& node = model.at(id).node;
        node.mode = (node.mode & S_IFMT) | mode;
        return {};
      })}};
}
FaultStep set_flags(const char* name, std::string path, std::uint32_t flags) {
  return {name,
          [=](FileSystem& fs) -> Status { return fs.set_flags({}, TRY(find(fs, path)), flags); },
          {effect_at(path, [=](TreeModel& model, Id id) -> Code {
            model.at(id).node.flags = flags;
            return {};
          })}};
}
FaultStep copy(const char* name, std::string from, std::string to, std::uint64_t length) {
  return {name,
          [=](FileSystem& fs) -> Status {
            return dropped(fs.copy_range(TRY(find(fs, from)), 0, TRY(find(fs, to)), 0, length));
          },
          {effect_at(from, to, [=](TreeModel& model, Id source, Id target) {
            return model.write(target, 0, model.at(source).node.content.substr(0, length));
          })}};
}
// Reads nothing but the truth: what it should be is looked at by FaultRun, here that an answer is an answer.
FaultStep look(const char* name, std::function<Status(FileSystem&)> run) { return {name, std::move(run)}; }
FaultStep durable(const char* name, std::function<Status(FileSystem&)> run) { return {name, std::move(run), {}, true}; }
FaultStep fsync(const char* name, std::string path, bool data_only) {
  return {name, [=](FileSystem& fs) -> Status { return fs.fsync(TRY(find(fs, path)), data_only); }, {}, true, path};
}

std::vector<FaultStep> populate() {
  std::vector<FaultStep> steps;
  for (int d = 0; d < 3; ++d) {
    const std::string directory = "/d" + std::to_string(d);
    steps.push_back(make("mkdir", directory, S_IFDIR | 0755));
    for (int f = 0; f < 24; ++f) {
      const std::string file = directory + "/" + std::string(60, static_cast<char>('a' + f)) + std::to_string(f);
      const auto size = static_cast<std::size_t>(f * 777);
      steps.push_back(make("create", file, S_IFREG | 0640));
      steps.push_back(write("write", file, 0, noise(size + 1, static_cast<std::uint64_t>(d * 100 + f))));
    }
  }
  steps.push_back(make("create", "/many", S_IFREG | 0644));
  for (unsigned i = 0; i < 40; ++i) steps.push_back(write("write", "/many", i * 12288, noise(5000, 900 + i)));
  steps.push_back(make("create", "/big", S_IFREG | 0644));
  steps.push_back(write("write", "/big", 0, noise(300'000, 7)));
  steps.push_back(make("create", "/sparse", S_IFREG | 0600));
  steps.push_back(write("write", "/sparse", 1'000'000, noise(3000, 8)));
  steps.push_back(allocate("reserve", "/sparse", AllocateMode::kReserve, 0, 50'000));
  steps.push_back(make("symlink", "/short", S_IFLNK | 0777, "big"));
  steps.push_back(make("symlink", "/long", S_IFLNK | 0777, std::string(3000, 't')));
  steps.push_back(make("fifo", "/fifo", S_IFIFO | 0600));
  steps.push_back(link("link", "/big", "/d0/also-big"));
  steps.push_back(set_xattr("setxattr", "/big", "user.small", "value"));
  steps.push_back(set_xattr("setxattr", "/big", "user.large", noise(9000, 9)));
  steps.push_back(set_xattr("setxattr", "/d1", "user.of-a-directory", "value"));
  return steps;
}

const std::string kFirst = "/d1/" + std::string(60, 'b') + "1";
const std::string kSecond = "/d1/" + std::string(60, 'c') + "2";
const std::string kThird = "/d2/" + std::string(60, 'x') + "23";
const std::string kFourth = "/d2/" + std::string(60, 'm') + "12";

Status read_to_end(FileSystem& fs, std::string_view path) {
  const InodeNo inode = TRY(find(fs, path));
  std::vector<std::byte> buffer(kMiB);
  return dropped(fs.read(inode, 0, buffer));
}

}  // namespace

std::string parent_of(std::string_view path) { return std::string(path.substr(0, path.rfind('/'))); }
std::string name_of(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

const std::vector<FaultStep>& fault_steps() {
  static const std::vector<FaultStep> steps = [] {
    return std::vector<FaultStep>{
        look("read", [](FileSystem& fs) { return read_to_end(fs, "/big"); }),
        look("list",
             [](FileSystem& fs) -> Status {
               return fs.read_directory(TRY(find(fs, "/d2")), 0, true, [&](const DirectoryEntry& entry) {
                 if (entry.attributes != nullptr) fs.forget(entry.inode, 1);
                 return true;
               });
             }),
        make("create", "/d0/new", S_IFREG | 0644),
        write("small write", "/d0/new", 0, "a few bytes"),
        append("append", "/d0/new", noise(6000, 20)),
        fsync("fsync", "/d0/new", false),
        write("write of whole blocks over others", "/big", 8192, noise(65'536, 21)),
        write("write of parts of blocks over others", "/big", 150'001, noise(9'001, 22)),
        look("read of many extents", [](FileSystem& fs) { return read_to_end(fs, "/many"); }),
        write("write into reserved blocks", "/sparse", 10'000, noise(20'000, 23)),
        make("mkdir", "/d3", S_IFDIR | 0750),
        rename("rename between directories", kFirst, "/d3/moved"),
        rename("rename over", kSecond, "/d3/moved"),
        rename("exchange", "/d3", kThird, 2),
        rename("rename of a directory", kThird, "/d0/deep"),
        link("link", "/d0/deep/moved", "/d1/linked"),
        unlink("unlink of one name of two", "/d0/deep/moved"),
        rmdir("rmdir", "/d0/deep"),
        unlink("unlink of many extents", "/many"),
        make("symlink", "/d1/link", S_IFLNK | 0777, std::string(2500, 's')),
        look("readlink", [](FileSystem& fs) -> Status { return dropped(fs.read_symlink(TRY(find(fs, "/d1/link")))); }),
        set_xattr("setxattr of much", "/d1/linked", "user.much", noise(20'000, 24)),
        set_xattr("setxattr over another", "/big", "user.large", "now small"),
        look("getxattr",
             [](FileSystem& fs) -> Status { return dropped(fs.get_xattr(TRY(find(fs, "/big")), "user.large")); }),
        remove_xattr("removexattr", "/big", "user.small"),
        chmod("chmod", "/d1", 0700),
        durable("sync", [](FileSystem& fs) { return fs.sync(); }),
        truncate("truncate to less", "/big", 123'457),
        truncate("truncate to more", "/big", 200'000),
        allocate("punch", "/big", AllocateMode::kPunchHole, 5'000, 20'000),
        allocate("reserve", "/d0/new", AllocateMode::kReserve, 4'000, 100'000),
        allocate("zero range", "/big", AllocateMode::kZeroRange, 190'000, 30'000),
        copy("copy", "/big", "/d0/new", 70'000),
        durable("checkpoint", [](FileSystem& fs) { return fs.volume().checkpoint(); }),
        make("create of a file in place", "/in-place", S_IFREG | 0600),
        set_flags("set flags", "/in-place", kInodeNoCow),
        write("write of new blocks in place", "/in-place", 0, noise(30'000, 25)),
        look("seek",
             [](FileSystem& fs) -> Status { return dropped(fs.seek(TRY(find(fs, "/sparse")), 100'000, true)); }),
        look("create and drop of a file without a name",
             [](FileSystem& fs) -> Status {
               const Attributes made = TRY(fs.make_temporary({}, kRootInode, 0600));
               const Status status = dropped(fs.write(made.inode, 0, to_bytes(noise(20'000, 26)), false));
               fs.forget(made.inode, 1);
               return status;
             }),
        look("trim", [](FileSystem& fs) -> Status { return dropped(fs.trim(0, kVolumeBytes, 4096)); }),
        unlink("unlink of a file in place", "/in-place"),
        unlink("unlink", kFourth),
        write("write before fdatasync", "/big", 100'000, noise(5'000, 27)),
        fsync("fdatasync", "/big", true),
        write("last write", "/d1/linked", 3, "never synced"),
    };
  }();
  return steps;
}

FileSystemOptions fault_options(Clock& clock) {
  FileSystemOptions options;
  options.inode_cache = 4;
  options.volume.background = false;
  options.volume.cache_bytes = 8 * kBlockBytes;
  options.volume.clock = &clock;
  return options;
}

const PopulatedVolume& populated_volume() {
  static const PopulatedVolume volume = [] {
    StepClock clock;
    MemoryDisk disk(kVolumeBytes);
    TreeModel model;
    WEFT_CHECK(make_sample_volume(disk, "faults", clock, std::uint64_t{kMinLogBlocks} * kBlockBytes));
    const auto fs = FileSystem::mount(disk, fault_options(clock)).value();
    for (const FaultStep& step : populate()) {
      const Status status = step.run(*fs);
      WEFT_CHECK(status);
      for (const Effect& effect : step.effects) WEFT_CHECK(!effect(model));
    }
    WEFT_CHECK(fs->unmount());
    return PopulatedVolume{disk.copy(), model};
  }();
  return volume;
}

}  // namespace weft::fs::test
