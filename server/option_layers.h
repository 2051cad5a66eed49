// Where an option's value comes from: the command line, else the environment, else a configuration file, else its
// default.
#pragma once

#include <string>

#include "CLI/CLI.hpp"

namespace quire {

// Gives a value to every option of `command` that the command line left out and that the environment
// (QUIRE_MAX_NUM_SEQS for
// --max-num-seqs) or the option `config_flag` (a YAML file of "max-num-seqs: 64" lines) sets. Call it once `command`
// was parsed. Throws CLI::ParseError, with a message that names the variable or the file and the key.
void ApplyOptionLayers(CLI::App& command, const std::string& config_flag);

}  // namespace quire
