package runner

var preloadedRuby = []same{
	{name: "what it is", prints: "main.rb", args: []string{"one", "zwei ü", ""}, text: `
p __FILE__, $0, $PROGRAM_NAME, __dir__, __LINE__, ARGV, $*, self, __method__, __ENCODING__, binding.local_variables
p $LOADED_FEATURES.grep_v(/x86|\.so$/).size, $LOADED_FEATURES.last(3), $LOAD_PATH, $;, $,, $/, $VERBOSE, $DEBUG, $-w, $-a, $-l, $-p, $-i, $!, $@, $., $_
p ENV.to_h, Dir.children(".").sort, Process.argv0, ARGV.map(&:encoding), ARGV.map(&:frozen?), ARGF.filename, $stdin.lineno
p Object.constants.size, global_variables.sort, ObjectSpace.each_object(File).map(&:path), caller, caller_locations(0).map(&:to_s)
p Encoding.default_external, Encoding.default_internal, "ü".encoding, GC.stress, Thread.list.size, Signal.trap("INT", "DEFAULT"), Signal.trap("TERM", "DEFAULT"), TOPLEVEL_BINDING.local_variables
p RUBY_VERSION, Gem.loaded_specs.keys, defined?(DidYouMean), defined?(ErrorHighlight), Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) < 5
`},
	{name: "data", prints: "two", text: "p DATA.class, DATA.path, DATA.lineno, DATA.pos, DATA.external_encoding, DATA.fileno\nputs DATA.read\nDATA.rewind\nputs DATA.gets\np DATA.stat.size, File.stat(__FILE__).ino == DATA.stat.ino\n__END__\none\ntwo ü\n"},
	{name: "siblings", prints: "helper", text: "require_relative 'helper'\nrequire './lib/deep'\np H, DEEP, $LOADED_FEATURES.last(2), load('helper.rb')\nrequire 'set'\nrequire 'json'\nputs JSON.dump([1])\nrequire_relative 'none'\n", files: []File{{"helper.rb", "H = 'helper ' + __FILE__ unless defined?(H)\n"}, {"lib/deep.rb", "DEEP = __dir__\n"}}},
	{name: "an error", prints: "undefined method", text: "def f(x)\n  x.lenght\nend\n\nf(\"text\")\n"},
	{name: "an error with a place", prints: "undefined method", text: "x = nil\n  puts 'ü'; x.foo.bar\n"},
	{name: "causes", prints: "second", text: "begin\n  raise 'first'\nrescue => e\n  raise ArgumentError, 'second'\nend\n"},
	{name: "an error at once", prints: "main.rb:1", text: "nothing\n"},
	{name: "a syntax error", prints: "syntax error", text: "def f(\n  puts 1\nend end\n"},
	{name: "a syntax error at once", prints: "syntax error", text: ")\n"},
	{name: "too deep", prints: "stack level too deep", text: "def f(n) = f(n + 1)\nbegin\n  f(0)\nrescue SystemStackError => e\n  p e.message\nend\nf(0)\n"},
	{name: "frozen text", prints: "true", text: "# frozen_string_literal: true\np 'a'.frozen?\n'a' << 'b'\n"},
	{name: "an encoding", prints: "ISO-8859-1", text: "# encoding: iso-8859-1\np __ENCODING__, 'ü'.encoding, 'ü'.size\n"},
	{name: "warnings", prints: "main.rb:2", text: "# -*- warn_indent: true -*-\nA = 1\nA = 2\nif true\n  end\nwarn 'x'\n"},
	{name: "a first line for shells", prints: "main.rb:3", text: "#!/usr/bin/env ruby\np __LINE__, $VERBOSE\nraise 'x'\n", args: []string{"a b"}},
	{name: "a first line with options", prints: "true", text: "#!/usr/bin/ruby -w\np $VERBOSE\nx = 1\n"},
	{name: "a first line for something else", prints: "no Ruby script", text: "#!/bin/sh\necho 1\n"},
	{name: "a mark of the order of bytes", prints: "ü", text: "\ufeffputs 'ü'\nraise 'x'\n"},
	{name: "two bytes end lines", prints: "a\\nb", text: "x = <<E\r\na\r\nb\r\nE\r\np x\r\nraise 'x'\r\n"},
	{name: "nothing", text: "\n"},
	{name: "one byte", text: "1"},
	{name: "letters first", prints: "x", text: "xyz = 1; p :x, xyz\n"},
	{name: "exits", prints: "last", text: "at_exit { puts 'last' }\nEND { puts 'end' }\nBEGIN { puts 'begin' }\nexit 3\n"},
	{name: "exit with text", prints: "bye", text: "abort 'bye'\n"},
	{name: "exit at once", text: "at_exit { puts 1 }\nexit! 4\n"},
	{name: "a signal", text: "Process.kill(:TERM, $$)\nsleep\n"},
	{name: "an interrupt", prints: "Interrupt", text: "begin\n  Process.kill(:INT, $$)\n  sleep\nrescue Interrupt => e\n  p e.class\nend\nProcess.kill(:INT, $$)\nsleep\n"},
	{name: "threads", prints: "in it", text: "p Thread.main == Thread.current, Thread.current.inspect.sub(/0x\\h+/, '')\nt = Thread.new { raise 'in it' }\nbegin\n  t.join\nrescue => e\n  p e.backtrace\nend\np [1, 2].each_slice(1).to_a, Ractor.count\n"},
	{name: "processes", prints: "child", text: "$stdout.sync = true\npid = fork { puts 'child'; exit 2 }\np Process.wait2(pid)[1].exitstatus\nputs `echo sh; env | grep -v ^_= | sort; ls /proc/self/fd | wc -l`\nsystem('ruby', '-e', 'p ARGV, $LOADED_FEATURES.size, ENV.keys', 'x')\nexec 'echo done'\n"},
	{name: "typed", prints: "Hello, Ada", typed: []typed{{"name? ", "Ada\n"}, {"again? ", "Bo\n"}}, eof: true, text: "print 'name? '\n$stdout.flush\nputs \"Hello, #{gets.chomp} #{$.}\"\nprint 'again? '\n$stdout.flush\np $stdin.gets, $stdin.read, $stdin.lineno\n"},
	{name: "files as arguments", prints: "a", args: []string{"a.txt"}, text: "puts gets, ARGF.filename, ARGF.lineno, ARGV\nputs ARGF.read\n", files: []File{{"a.txt", "a\nb\n"}}},
	{name: "streams", prints: "UTF-8", text: "[$stdin, $stdout, $stderr].each { |s| p s.sync, s.tty?, s.fileno, s.external_encoding, s.internal_encoding, s.class }\nputs 'ü UTF-8'\nwarn 'e'\n$stdout.write(\"\\xff\".b)\np Dir.children('/proc/self/fd').size, File.read('/proc/self/cmdline'), File.read('/proc/self/comm'), File.open('x', 'w').fileno\np File.exist?('/proc/self/fd/255'), File.readlines('/proc/self/status').grep(/^(Sig|Shd|Cap|Umask|Threads)/)\n"},
	{name: "its own text", prints: "def f", text: "def f = 1\nputs File.read(__FILE__), method(:f).source_location.inspect\np RubyVM::InstructionSequence.of(method(:f)).path, SCRIPT_LINES__ rescue p $!.class\n"},
	{name: "a debugger's look", prints: "main.rb", text: "t = TracePoint.new(:call) { |x| p [x.path, x.lineno, x.method_id] }\ndef g = 1\nt.enable { g }\nset_trace_func nil\n"},
}
