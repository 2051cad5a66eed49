#include "server/cli/chat_history.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quire {
namespace {

using google::protobuf::FieldDescriptor;

constexpr size_t kMaxFileBytes = size_t{16} << 20;

// A conversation shows one answer, and no log-probabilities.
bool IsSettable(const FieldDescriptor& field) {
  if (field.name() == "n" || absl::EndsWith(field.name(), "logprobs")) return false;
  return !field.is_repeated() || field.name() == "stop";
}

std::vector<const FieldDescriptor*> SettableFields() {
  const google::protobuf::Descriptor& descriptor = *v1::SamplingParams::descriptor();
  std::vector<const FieldDescriptor*> fields;
  for (int i = 0; i < descriptor.field_count(); ++i) {
    if (IsSettable(*descriptor.field(i))) fields.push_back(descriptor.field(i));
  }
  return fields;
}

// False when the value cannot be read as what the field holds.
bool SetField(v1::SamplingParams& params, const FieldDescriptor& field, const std::string& value) {
  const google::protobuf::Reflection& reflection = *params.GetReflection();
  float number = 0;
  int32_t integer = 0;
  uint64_t natural = 0;
  bool flag = false;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_FLOAT:
      if (!absl::SimpleAtof(value, &number)) return false;
      reflection.SetFloat(&params, &field, number);
      return true;
    case FieldDescriptor::CPPTYPE_INT32:
      if (!absl::SimpleAtoi(value, &integer)) return false;
      reflection.SetInt32(&params, &field, integer);
      return true;
    case FieldDescriptor::CPPTYPE_UINT64:
      if (!absl::SimpleAtoi(value, &natural)) return false;
      reflection.SetUInt64(&params, &field, natural);
      return true;
    case FieldDescriptor::CPPTYPE_BOOL:
      if (!absl::SimpleAtob(value, &flag)) return false;
      reflection.SetBool(&params, &field, flag);
      return true;
    case FieldDescriptor::CPPTYPE_STRING:
      reflection.ClearField(&params, &field);
      reflection.AddString(&params, &field, value);
      return true;
    default:
      return false;
  }
}

std::string KindOf(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_FLOAT:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    default:
      return "a whole number";
  }
}

// A shell would have done it.
std::string ExpandHome(const std::string& path) {
  const char* home = std::getenv("HOME");
  return home != nullptr && absl::StartsWith(path, "~/") ? absl::StrCat(home, path.substr(1)) : path;
}

}  // namespace

void ChatHistory::Add(const std::string& role, const std::string& content) {
  v1::ChatMessage& message = *request_.add_messages();
  message.set_role(role);
  message.set_content(content);
}

bool ChatHistory::DropAnswer() {
  const int last = request_.messages_size() - 1;
  if (last < 1 || request_.messages(last).role() != "assistant") return false;
  request_.mutable_messages()->RemoveLast();
  return true;
}

void ChatHistory::Reset() {
  const std::string kept = system();
  request_.clear_messages();
  SetSystem(kept);
}

std::string ChatHistory::system() const { return HasSystem() ? request_.messages(0).content() : ""; }

void ChatHistory::SetSystem(const std::string& text) {
  auto& messages = *request_.mutable_messages();
  if (HasSystem()) messages.DeleteSubrange(0, 1);
  if (text.empty()) return;
  Add("system", text);
  std::rotate(messages.pointer_begin(), messages.pointer_end() - 1, messages.pointer_end());
}

absl::Status ChatHistory::Set(const std::string& name, const std::string& value) {
  const FieldDescriptor* field = v1::SamplingParams::descriptor()->FindFieldByName(name);
  if (field == nullptr || !IsSettable(*field)) {
    const auto append_name = [](std::string* out, const FieldDescriptor* f) { out->append(f->name()); };
    return absl::InvalidArgumentError(absl::StrCat("there is no parameter \"", name, "\"; there are ",
                                                   absl::StrJoin(SettableFields(), ", ", append_name)));
  }
  v1::SamplingParams& params = *request_.mutable_sampling_params();
  if (value == "default") {
    params.GetReflection()->ClearField(&params, field);
  } else if (!SetField(params, *field, value)) {
    return absl::InvalidArgumentError(absl::StrCat(name, " must be ", KindOf(*field), ", got \"", value, "\""));
  }
  return absl::OkStatus();
}

std::string ChatHistory::DescribeParameters() const {
  const v1::SamplingParams& params = request_.sampling_params();
  const google::protobuf::Reflection& reflection = *params.GetReflection();
  std::string out;
  for (const FieldDescriptor* field : SettableFields()) {
    std::string value = "default";
    const bool set =
        field->is_repeated() ? reflection.FieldSize(params, field) > 0 : reflection.HasField(params, field);
    if (set) {
      google::protobuf::TextFormat::PrintFieldValueToString(params, field, field->is_repeated() ? 0 : -1, &value);
    }
    absl::StrAppend(&out, field->name(), " ", value, "\n");
  }
  return out;
}

absl::Status ChatHistory::Save(const std::string& path) const {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto converted = google::protobuf::util::MessageToJsonString(request_, &json, options);
  if (!converted.ok()) return absl::InternalError(std::string(converted.message()));
  std::ofstream file(ExpandHome(path), std::ios::binary);
  file << json;
  file.close();
  return file ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot write ", path));
}

absl::Status ChatHistory::Load(const std::string& path) {
  std::ifstream file(ExpandHome(path), std::ios::binary);
  std::string json(kMaxFileBytes + 1, '\0');
  file.read(json.data(), static_cast<std::streamsize>(json.size()));
  // Reading to the end is the success here: a folder or a missing file gives nothing.
  if (!file.eof() || file.bad()) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  json.resize(static_cast<size_t>(file.gcount()));
  v1::ChatRequest request;
  const auto converted = google::protobuf::util::JsonStringToMessage(json, &request);
  if (!converted.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a saved conversation: ", std::string(converted.message())));
  }
  request_ = std::move(request);
  return absl::OkStatus();
}

}  // namespace quire
