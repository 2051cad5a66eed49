// Values of the template language. Lists and dicts never change once made and hold no namespace, so no value contains
// itself; how deep they nest is bounded, so that every walk over one may recurse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quire::jinja {

struct Macro;
class Value;

// Lists and dicts nest this deep at most.
inline constexpr int kMaxValueDepth = 64;

// What any one step costs, besides the bytes that it makes or looks at.
inline constexpr size_t kStepUnits = 16;

// What a template may still do: a unit is about a byte made or looked at. Time and memory are both bounded by it, since
// nothing in a template runs or is made without a charge.
class Budget {
 public:
  explicit Budget(size_t units) : left_(units) {}
  // INVALID_ARGUMENT once the budget is used up.
  absl::Status Charge(size_t units);

 private:
  size_t left_;
};

// Text in the making, each byte charged before it is there.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(budget) {}
  absl::Status Append(std::string_view text);
  std::string Take() { return std::move(text_); }

 private:
  Budget& budget_;
  std::string text_;
};

struct List {
  std::vector<Value> items;
  int depth = 1;  // 1 + the deepest item's.
};

struct Dict {
  std::vector<std::pair<std::string, Value>> items;  // In the order of their making; keys are unique.
  int depth = 1;
};

// The one thing that a template can change, by {% set namespace.name = value %}.
struct Namespace {
  std::vector<std::pair<std::string, Value>> items;
};

struct Undefined {};
struct None {};
// A function that the language itself has, by its name.
struct Function {
  std::string_view name;
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
                            std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                            const Macro*, Function>;

  Value() = default;  // Undefined.
  template <typename T>
  requires(!std::is_same_v<std::decay_t<T>, Value> && std::is_constructible_v<Data, T>) Value(T&& data)
      : data_(std::forward<T>(data)) {}

  // The charged makers: a string, a list, a dict (of two equal keys the later counts), and what is wrong if too deep.
  static absl::StatusOr<Value> MakeString(std::string text, Budget& budget);
  static absl::StatusOr<Value> MakeList(std::vector<Value> items, Budget& budget);
  static absl::StatusOr<Value> MakeDict(std::vector<std::pair<std::string, Value>> items, Budget& budget);

  template <typename T>
  bool Is() const {
    return std::holds_alternative<T>(data_);
  }
  template <typename T>
  const T& As() const {
    return std::get<T>(data_);
  }
  // Null if it is none.
  const std::string* AsString() const { return Pointer<const std::string>(); }
  const List* AsList() const { return Pointer<const List>(); }
  const Dict* AsDict() const { return Pointer<const Dict>(); }
  Namespace* AsNamespace() const { return Pointer<Namespace>(); }

  bool IsNumber() const { return Is<bool>() || Is<int64_t>() || Is<double>(); }
  bool IsIntegral() const { return Is<bool>() || Is<int64_t>(); }
  // REQUIRES: IsIntegral() and IsNumber().
  int64_t Integer() const { return Is<bool>() ? As<bool>() : As<int64_t>(); }
  double Float() const { return Is<double>() ? As<double>() : static_cast<double>(Integer()); }
  // As Python has it: empty, zero, None and undefined are false.
  bool Truthy() const;
  // What to call its type in a message.
  const char* TypeName() const;

 private:
  template <typename T>
  T* Pointer() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  Data data_;
};

// The value under `key` in items of a dict or a namespace, or null. Charged by their number.
absl::StatusOr<const Value*> Find(const std::vector<std::pair<std::string, Value>>& items, std::string_view key,
                                  Budget& budget);

absl::StatusOr<bool> Equal(const Value& a, const Value& b, Budget& budget);
// Whether a < b; INVALID_ARGUMENT for what has no order.
absl::StatusOr<bool> Less(const Value& a, const Value& b);

// As Python writes a float: the shortest text that reads back as the same.
std::string FloatText(double value);

// Appends the value as {{ }} shows it, and as Python's repr does.
absl::Status AppendText(const Value& value, TextBuilder& out);
absl::Status AppendRepr(const Value& value, TextBuilder& out);

}  // namespace quire::jinja
