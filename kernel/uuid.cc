#include "kernel/uuid.h"

namespace weft {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

bool dash_before(std::size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

int digit(char character) {
  if (character >= 'A' && character <= 'F') character = static_cast<char>(character - 'A' + 'a');
  const auto at = kDigits.find(character);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

Uuid Uuid::make(Entropy& entropy) noexcept {
  Uuid made;
  entropy.fill({reinterpret_cast<std::byte*>(made.bytes.data()), made.bytes.size()});
  made.bytes[6] = static_cast<std::uint8_t>((made.bytes[6] & 0x0f) | 0x40);  // version 4
  made.bytes[8] = static_cast<std::uint8_t>((made.bytes[8] & 0x3f) | 0x80);  // the RFC's variant
  return made;
}

Result<Uuid> Uuid::parse(std::string_view text) {
  const auto refuse = [&] { return fail(Errc::kInvalid, "\"" + std::string(text) + "\" is not a UUID"); };
  if (text.size() != 36) return refuse();
  Uuid parsed;
  std::size_t at = 0;
  for (std::size_t byte = 0; byte < parsed.bytes.size(); ++byte) {
    if (dash_before(byte) && text[at++] != '-') return refuse();
    const int high = digit(text[at]);
    const int low = digit(text[at + 1]);
    if (high < 0 || low < 0) return refuse();
    parsed.bytes[byte] = static_cast<std::uint8_t>(high * 16 + low);
    at += 2;
  }
  return parsed;
}

std::string Uuid::text() const {
  std::string printed;
  for (std::size_t byte = 0; byte < bytes.size(); ++byte) {
    if (dash_before(byte)) printed += '-';
    printed += kDigits[bytes[byte] >> 4];
    printed += kDigits[bytes[byte] & 15];
  }
  return printed;
}

}  // namespace weft
