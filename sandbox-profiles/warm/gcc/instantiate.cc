// A plugin for the making of precompiled headers: #pragma corun instantiate instantiates
// at once the templates that the headers' inline functions use. The compiler would leave
// that to the end of every program that includes them, where it takes longer than all
// else. Either is a point of instantiation that the language has.
//
// What is used of the compiler is declared here as it is in its gcc-plugin.h, c-pragma.h
// and cp-tree.h, which are in a package of their own. If a compiler has it no more, the
// plugin does not load, and setup.sh does without.
struct plugin_name_args;
struct plugin_gcc_version;
struct cpp_reader;

extern "C" void register_callback(const char *plugin, int event, void (*)(void *, void *), void *);
void c_register_pragma(const char *space, const char *name, void (*handler)(cpp_reader *));
void instantiate_pending_templates(int retries);

enum { PLUGIN_PRAGMAS = 15 };

static void instantiate(cpp_reader *) { instantiate_pending_templates(0); }

static void pragmas(void *, void *) { c_register_pragma("corun", "instantiate", instantiate); }

extern "C" {
int plugin_is_GPL_compatible;

int plugin_init(plugin_name_args *, plugin_gcc_version *) {
    register_callback("corun", PLUGIN_PRAGMAS, pragmas, nullptr);
    return 0;
}
}
