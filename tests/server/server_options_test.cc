#include "server/server_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace quire {
namespace {

using ::testing::HasSubstr;

// Parses as `quire serve` does; `error` is what the user is shown, empty if all is well.
struct Parsed {
  explicit Parsed(const std::string& arguments) {
    CLI::App app;
    CLI::App* command = app.add_subcommand("serve");
    AddServerFlags(*command, options);
    command->callback([&] { CompleteServerOptions(*command, options); });
    try {
      app.parse("serve " + arguments);
    } catch (const CLI::ParseError& parse_error) {
      error = parse_error.what();
    }
  }

  ServerOptions options;
  std::string error;
};

class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Environment() { unsetenv(name_); }

 private:
  const char* name_;
};

std::string WriteConfig(const std::string& text) {
  const std::string path = testing::TempDir() + "quire_options_" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << text;
  return path;
}

TEST(ServerOptions, HasTheDocumentedDefaults) {
  const Parsed parsed("model.gguf");
  EXPECT_EQ(parsed.error, "");
  EXPECT_EQ(parsed.options.backend.model_path, "model.gguf");
  EXPECT_EQ(parsed.options.host, "127.0.0.1");
  EXPECT_EQ(parsed.options.port, 50051);
  EXPECT_EQ(parsed.options.backend.max_model_len, 0);
  EXPECT_EQ(parsed.options.backend.max_num_seqs, 256);
  EXPECT_EQ(parsed.options.backend.device, Device::kAuto);
  EXPECT_EQ(parsed.options.backend.max_num_batched_tokens, 0);
  EXPECT_EQ(parsed.options.backend.block_size, 32);
  EXPECT_EQ(parsed.options.backend.kv_dtypes.key, KvDType::kBF16);
  EXPECT_EQ(parsed.options.backend.kv_dtypes.value, std::nullopt);
  EXPECT_TRUE(parsed.options.backend.enable_prefix_caching);
  EXPECT_FALSE(parsed.options.backend.recompute_always);
}

TEST(ServerOptions, TakesTenantsFromAFileOrFromAHeaderButNotFromBoth) {
  EXPECT_EQ(Parsed("m.gguf --tenants t.yaml").options.tenants, "t.yaml");
  EXPECT_EQ(Parsed("m.gguf --tenant-header X-Tenant").options.tenant_header, "x-tenant");
  EXPECT_THAT(Parsed("m.gguf --tenant-header 'a:b'").error, HasSubstr("--tenant-header"));
  EXPECT_THAT(Parsed("m.gguf --tenant-header x-t --tenants t.yaml").error, HasSubstr("cannot be combined"));
}

TEST(ServerOptions, ReadsEveryFlag) {
  const Parsed parsed(
      "m.gguf --host 0.0.0.0 --port 0 --device cpu --threads 3 --max-model-len 2048 --max-num-seqs 16 "
      "--max-num-batched-tokens 64 "
      "--block-size 16 --kv-cache-memory 512MiB --kv-cache-dtype int8 --kv-cache-dtype-v int4 "
      "--no-enable-prefix-caching --no-kv-cache "
      "--log-level debug "
      "--max-waiting-requests 5 --drain-timeout 7 --instruction-set avx2 --served-model-name small "
      "--tool-call-parser hermes");
  EXPECT_EQ(parsed.error, "");
  const BackendOptions& backend = parsed.options.backend;
  EXPECT_EQ(parsed.options.host, "0.0.0.0");
  EXPECT_EQ(parsed.options.port, 0);
  EXPECT_EQ(backend.device, Device::kCpu);
  EXPECT_EQ(backend.threads, 3);
  EXPECT_EQ(backend.max_model_len, 2048);
  EXPECT_EQ(backend.max_num_seqs, 16);
  EXPECT_EQ(backend.max_num_batched_tokens, 64);
  EXPECT_EQ(backend.block_size, 16);
  EXPECT_EQ(backend.kv_cache_bytes, 512 << 20);
  EXPECT_EQ(backend.kv_dtypes.key, KvDType::kInt8);
  EXPECT_EQ(backend.kv_dtypes.value, KvDType::kInt4);
  EXPECT_FALSE(backend.enable_prefix_caching);
  EXPECT_TRUE(backend.recompute_always);
  EXPECT_EQ(parsed.options.log_level, "debug");
  EXPECT_EQ(backend.max_waiting_requests, 5);
  EXPECT_EQ(parsed.options.drain_timeout_seconds, 7);
  EXPECT_EQ(parsed.options.tool_call_parser, "hermes");
  EXPECT_EQ(backend.instruction_set, "avx2");
  EXPECT_EQ(backend.model_name, "small");
}

TEST(ServerOptions, RoundsWeightsAsTold) {
  EXPECT_EQ(Parsed("m").options.backend.precision, WeightPrecision::kAsStored);
  EXPECT_EQ(Parsed("m --quantization none").options.backend.precision, WeightPrecision::kAsStored);
  EXPECT_EQ(Parsed("m --quantization fp8").options.backend.precision, WeightPrecision::kFloat8);
  EXPECT_EQ(Parsed("m --config " + WriteConfig("quantization: fp8")).options.backend.precision,
            WeightPrecision::kFloat8);
}

TEST(ServerOptions, KeepsKeysAndValuesAsTold) {
  EXPECT_EQ(Parsed("m --kv-cache-dtype auto").options.backend.kv_dtypes.key, KvDType::kBF16);
  EXPECT_EQ(Parsed("m --kv-cache-dtype int8").options.backend.kv_dtypes.key, KvDType::kInt8);
  EXPECT_EQ(Parsed("m --kv-cache-dtype fp8").options.backend.kv_dtypes.key, KvDType::kFp8);
  EXPECT_EQ(Parsed("m --kv-cache-dtype bf16").options.backend.kv_dtypes.key, KvDType::kBF16);
}

TEST(ServerOptions, PrefersFlagsToTheEnvironmentToTheConfigFile) {
  const std::string config =
      "--config " + WriteConfig("port: 1001\nmax-num-seqs: 11\nmodel: from_file.gguf\nenable-prefix-caching: false\n");
  const Parsed from_file(config);
  EXPECT_EQ(from_file.error, "");
  EXPECT_EQ(from_file.options.port, 1001);
  EXPECT_EQ(from_file.options.backend.max_num_seqs, 11);
  EXPECT_EQ(from_file.options.backend.model_path, "from_file.gguf");
  EXPECT_FALSE(from_file.options.backend.enable_prefix_caching);

  const Environment port("QUIRE_PORT", "1002");
  const Environment caching("QUIRE_ENABLE_PREFIX_CACHING", "1");
  const Parsed from_environment(config);
  EXPECT_EQ(from_environment.options.port, 1002);
  EXPECT_EQ(from_environment.options.backend.max_num_seqs, 11);
  EXPECT_TRUE(from_environment.options.backend.enable_prefix_caching);

  const Parsed from_flags(config + " --port 1003 --no-enable-prefix-caching");
  EXPECT_EQ(from_flags.options.port, 1003);
  EXPECT_FALSE(from_flags.options.backend.enable_prefix_caching);
}

TEST(ServerOptions, TakesTheConfigFileFromTheEnvironmentToo) {
  const std::string path = WriteConfig("port: 1004");
  const Environment config("QUIRE_CONFIG", path.c_str());
  EXPECT_EQ(Parsed("m.gguf").options.port, 1004);
}

TEST(ServerOptions, NamesTheFlagOfABadValue) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "MODEL"},
      {"m --port 70000", "--port"},
      {"m --port x", "--port"},
      {"m --threads -1", "--threads"},
      {"m --max-model-len 0", "--max-model-len"},
      {"m --max-num-seqs 0", "--max-num-seqs"},
      {"m --max-num-seqs 99999999999999999999", "--max-num-seqs"},
      {"m --max-num-batched-tokens 0", "--max-num-batched-tokens"},
      {"m --max-num-seqs 512 --max-num-batched-tokens 256", "--max-num-batched-tokens"},
      {"m --block-size 17", "--block-size"},
      {"m --kv-cache-dtype int3", "--kv-cache-dtype"},
      {"m --kv-cache-dtype 2", "--kv-cache-dtype"},
      {"m --quantization awq", "--quantization"},
      {"m --kv-cache-memory lots", "--kv-cache-memory"},
      {"m --kv-cache-memory 0", "--kv-cache-memory"},
      {"m --kv-cache-memory -5MiB", "--kv-cache-memory"},
      {"m --max-waiting-requests 0", "--max-waiting-requests"},
      {"m --drain-timeout -1", "--drain-timeout"},
      {"m --tool-call-parser smoke-signals", "--tool-call-parser"},
      {"m --log-level loud", "--log-level"},
      {"m --no-such-flag", "--no-such-flag"},
  };
  for (const auto& [arguments, flag] : cases) {
    EXPECT_THAT(Parsed(arguments).error, HasSubstr(flag)) << arguments;
  }
}

TEST(ServerOptions, NamesTheSourceOfABadValueFromElsewhere) {
  {
    const Environment port("QUIRE_PORT", "many");
    EXPECT_THAT(Parsed("m").error, HasSubstr("QUIRE_PORT"));
  }
  EXPECT_THAT(Parsed("m --config /nowhere/at/all.yaml").error, HasSubstr("/nowhere/at/all.yaml"));
  EXPECT_THAT(Parsed("m --config " + WriteConfig("prot: 1")).error, HasSubstr("prot: is not an option"));
  EXPECT_THAT(Parsed("m --config " + WriteConfig("port: 99999")).error, HasSubstr("port"));
  EXPECT_THAT(Parsed("m --config " + WriteConfig("port: [1, 2]")).error, HasSubstr("must be a single value"));
  EXPECT_THAT(Parsed("m --config " + WriteConfig("- port")).error, HasSubstr("option: value"));
  EXPECT_THAT(Parsed("m --config " + WriteConfig("port: {")).error, HasSubstr("line"));
  EXPECT_EQ(Parsed("m --config " + WriteConfig("")).error, "");
}

}  // namespace
}  // namespace quire
