#include "server/option_layers.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace quire {
namespace {

std::string EnvironmentName(const CLI::Option& option) {
  std::string name = absl::StrCat("QUIRE_", absl::AsciiStrToUpper(option.get_single_name()));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

void SetFrom(const std::string& source, const std::string& value, CLI::Option& option) {
  try {
    option.add_result(value);
    option.run_callback();
  } catch (const CLI::ParseError& error) {
    throw CLI::ValidationError(source, error.what());
  }
}

void ApplyEnvironment(CLI::App& command) {
  for (CLI::Option* option : command.get_options()) {
    const std::string name = EnvironmentName(*option);
    const char* value = std::getenv(name.c_str());
    if (value != nullptr && option->count() == 0) SetFrom(name, value, *option);
  }
}

std::map<std::string, std::string> ReadConfig(const std::string& path) {
  try {
    std::map<std::string, std::string> values;
    const YAML::Node root = YAML::LoadFile(path);
    if (root.IsNull()) return values;
    if (!root.IsMap()) throw CLI::ValidationError(path, "must be lines of \"option: value\"");
    for (const auto& entry : root) {
      const std::string key = entry.first.as<std::string>();
      if (!entry.second.IsScalar()) throw CLI::ValidationError(absl::StrCat(path, ": ", key), "must be a single value");
      values[key] = entry.second.as<std::string>();
    }
    return values;
  } catch (const YAML::Exception& error) {
    throw CLI::ValidationError(path, error.what());
  }
}

void ApplyConfig(CLI::App& command, const std::string& path) {
  for (const auto& [key, value] : ReadConfig(path)) {
    const std::string source = absl::StrCat(path, ": ", key);
    const auto options = command.get_options();
    const auto option = std::find_if(options.begin(), options.end(), [&key = key](const CLI::Option* candidate) {
      return candidate->get_single_name() == key;
    });
    if (option == options.end())
      throw CLI::ValidationError(source, "is not an option; keys are flags without dashes in front");
    if ((*option)->count() == 0) SetFrom(source, value, **option);
  }
}

}  // namespace

void ApplyOptionLayers(CLI::App& command, const std::string& config_flag) {
  ApplyEnvironment(command);
  const CLI::Option* config = command.get_option(config_flag);
  if (config->count() > 0) ApplyConfig(command, config->as<std::string>());
}

}  // namespace quire
