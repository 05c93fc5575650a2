package runner

var preloadedJava = []same{
	{name: "arguments", prints: "[one, zwei ü, ]", args: []string{"one", "zwei ü", ""}, text: `
import java.util.*;
public class Main {
    public static void main(String[] args) {
        System.out.println(Arrays.asList(args));
        System.out.println(System.getenv());
        System.out.println(Thread.currentThread() + " " + Thread.activeCount() + " " + Main.class.getClassLoader().getName() + " " + Main.class.getModule());
        System.out.println(System.getProperty("user.dir") + System.getProperty("java.class.path") + System.getProperty("file.encoding") + System.getProperty("stdout.encoding") + Locale.getDefault());
        System.out.println(ClassLoader.getSystemClassLoader() == Main.class.getClassLoader());
        System.out.println(Thread.currentThread().getContextClassLoader() == Main.class.getClassLoader());
        Thread[] all = new Thread[20];
        int n = Thread.enumerate(all);
        for (int i = 0; i < n; i++) System.out.println(all[i].getName() + all[i].isDaemon() + all[i].getPriority());
        System.out.println(new java.io.File("/proc/self/fd").list().length < 40);
        System.out.println(new java.io.File("/proc/self/fd/255").exists());
        System.out.println(Runtime.getRuntime().availableProcessors());
    }
}
`},
	{name: "a stack trace", prints: "at Main.main(Main.java:4)", text: `
public class Main {
    public static void main(String[] args) {
        new Inner().go(3);
    }
    static class Inner {
        void go(int n) {
            if (n == 0) throw new IllegalStateException("here", new RuntimeException("cause"));
            Runnable r = () -> go(n - 1);
            r.run();
        }
    }
}
`},
	{name: "a trace that is printed", prints: "at Main.main", text: "public class Main { public static void main(String[] a) throws Exception { new Exception(\"x\").printStackTrace(); System.out.println(java.util.Arrays.toString(Thread.currentThread().getStackTrace())); StackWalker.getInstance().forEach(f -> System.out.println(f)); long n = StackWalker.getInstance().walk(s -> s.count()); System.out.println(n); } }"},
	{name: "thrown in a static block", prints: "ExceptionInInitializerError", text: "public class Main { static int x = 1 / Integer.parseInt(\"0\"); public static void main(String[] a) { System.out.println(x); } }"},
	{name: "exit", prints: "hook", text: "public class Main { public static void main(String[] a) { Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println(\"hook\"))); System.exit(3); } }"},
	{name: "halt", text: "public class Main { public static void main(String[] a) { System.out.print(\"unflushed\"); Runtime.getRuntime().halt(4); } }"},
	{name: "exit in another thread", text: "public class Main { public static void main(String[] a) throws Exception { new Thread(() -> System.exit(5)).start(); Thread.sleep(100000); } }"},
	{name: "thrown in another thread", prints: "Exception in thread \"Thread-0\"", text: "public class Main { public static void main(String[] a) throws Exception { Thread t = new Thread(() -> { throw new RuntimeException(\"in it\"); }); t.start(); t.join(); System.out.println(\"goes on\"); } }"},
	{name: "threads that go on", prints: "later", text: "public class Main { public static void main(String[] a) { Thread main = Thread.currentThread(); new Thread(() -> { try { main.join(); System.out.println(\"later \" + main.getState() + main.isAlive()); } catch (InterruptedException e) {} }).start(); throw new RuntimeException(\"main\"); } }"},
	{name: "daemons", prints: "over", text: "public class Main { public static void main(String[] a) { Thread t = new Thread(() -> { while (true) Thread.onSpinWait(); }); t.setDaemon(true); t.start(); System.out.println(\"over\"); } }"},
	{name: "a handler for all", prints: "handled", text: "public class Main { public static void main(String[] a) { Thread.setDefaultUncaughtExceptionHandler((t, e) -> System.out.println(\"handled \" + t.getName() + e)); throw new RuntimeException(\"x\"); } }"},
	{name: "typed", prints: "Hello, Ada!", typed: []typed{{"name? ", "Ada\n"}, {"age? ", "36\n"}}, eof: true, text: `
import java.util.Scanner;
public class Main {
    public static void main(String[] args) throws Exception {
        Scanner in = new Scanner(System.in);
        System.out.print("name? ");
        String name = in.nextLine();
        System.out.print("age? ");
        System.out.println("Hello, " + name + "! " + in.nextInt());
        System.out.println(in.hasNext());
        in.nextLine();
        in.nextLine();
    }
}
`},
	{name: "read by lines", only: ModePipes, prints: "[a, b]", typed: []typed{{"", "a\nb"}}, eof: true, text: "import java.io.*; import java.util.stream.*; public class Main { public static void main(String[] a) throws Exception { System.out.println(new BufferedReader(new InputStreamReader(System.in)).lines().collect(Collectors.toList())); System.out.println(System.in.read() + \" \" + (System.console() == null)); } }"},
	{name: "several files", prints: "helper 4", text: "public class Main { public static void main(String[] a) { System.out.println(new Helper(4)); new Helper(-1); } }", files: []File{{"Helper.java", "class Helper {\n  int x;\n  Helper(int x) {\n    if (x < 0) throw new IllegalArgumentException();\n    this.x = x;\n  }\n  public String toString() { return \"helper \" + x; }\n}\n"}}},
	{name: "packages", entry: "src/app/Start.java", prints: "app.util.Tool", files: []File{{"src/app/Start.java", "package app;\nimport app.util.Tool;\npublic class Start {\n  public static void main(String[] a) {\n    System.out.println(new Tool() + Start.class.getName() + Start.class.getPackageName());\n  }\n}\n"}, {"src/app/util/Tool.java", "package app.util;\npublic class Tool { public String toString() { return getClass().getName(); } }\n"}}},
	{name: "another entry", entry: "Other.java", prints: "other", files: []File{{"Other.java", "class Other { public static void main(String... a) { System.out.println(\"other\"); Object o = null; o.toString(); } }"}}},
	{name: "several classes", prints: "first", text: "class A { static String x = \"first\"; } record P(int x) {} enum E { A } interface I {} public class Main { public static void main(String[] a) { System.out.println(A.x + new P(1) + E.A + I.class); } }"},
	{name: "names of the program that is compiled ahead", prints: "mine 3.0 HIGH", text: "package corun.sample; interface Shape { double area(); } record Circle(double radius) implements Shape { public double area() { return radius; } } enum Level { LOW, HIGH } class Sample { String s = \"mine\"; } public class Main { public static void main(String[] a) { System.out.println(new Sample().s + \" \" + new Circle(3).area() + \" \" + Level.HIGH); } }"},
	{name: "the program that is compiled ahead", prints: "error:", text: "public class Main { public static void main(String[] a) { corun.sample.Sample s = null; Sample t = null; System.out.println(s); } }"},
	{name: "does not compile", prints: "error:", text: "public class Main {\n    public static void main(String[] args) {\n        int x = \"text\"\n        y();\n    }\n}\n"},
	{name: "does not compile, types", prints: "2 errors", text: "public class Main {\n    public static void main(String[] args) {\n        int x = \"text\";\n        y();\n    }\n}\n"},
	{name: "warnings", prints: "Note:", text: "import java.util.*; public class Main { public static void main(String[] a) { List l = new ArrayList(); l.add(1); System.out.println(l); } }"},
	{name: "no main", prints: "main", text: "public class Main { static void main2() {} }"},
	{name: "an empty file", prints: "main", text: "\n"},
	{name: "resources", prints: "in a file", text: "public class Main { public static void main(String[] a) throws Exception { System.out.println(new String(Main.class.getResourceAsStream(\"data.txt\").readAllBytes())); System.out.println(Main.class.getResource(\"/data.txt\")); System.out.println(Main.class.getResource(\"none\")); } }", files: []File{{"data.txt", "in a file"}}},
	{name: "too deep", prints: "StackOverflowError", text: "public class Main { static int n; static void f() { n++; f(); } public static void main(String[] a) { try { f(); } catch (StackOverflowError e) { System.out.println(e + \" \" + (n > 1000)); } } }"},
	{name: "too much memory", prints: "OutOfMemoryError", text: "public class Main { public static void main(String[] a) { java.util.List<long[]> l = new java.util.ArrayList<>(); while (true) l.add(new long[1 << 17]); } }"},
	{name: "reflection", prints: "found", text: "public class Main { public static String x() { return \"found\"; } public static void main(String[] a) throws Exception { System.out.println(Class.forName(\"Main\").getMethod(\"x\").invoke(null)); try { Class.forName(\"Launcher\"); System.out.println(\"ours is seen\"); } catch (ClassNotFoundException e) { System.out.println(e); } Class.forName(\"Gone\"); } }"},
	{name: "signals", prints: "143", text: "public class Main { public static void main(String[] a) throws Exception { Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println(143))); ProcessHandle.current().info(); new ProcessBuilder(\"sh\", \"-c\", \"kill -TERM \" + ProcessHandle.current().pid()).inheritIO().start(); Thread.sleep(100000); } }"},
	{name: "other programs", prints: "of sh", text: "public class Main { public static void main(String[] a) throws Exception { Process p = new ProcessBuilder(\"sh\", \"-c\", \"echo of sh; env | grep -v ^_= | sort; ls /proc/self/fd | wc -l; exit 3\").inheritIO().start(); System.out.println(p.waitFor()); } }"},
	{name: "order of streams", prints: "ab", text: "public class Main { public static void main(String[] a) { System.out.print(\"a\"); System.err.print(\"c\"); System.out.print(\"b\"); System.err.println(\"ü€\"); System.out.printf(\"%,.2f %s%n\", 1234.5, 'x'); assert false : \"not seen\"; } }"},
	{name: "streams and text", prints: "[A, B]", text: "import java.util.*; import java.util.stream.*; import java.time.*; public class Main { sealed interface S permits A, B {} record A(int x) implements S {} record B(String y) implements S {} public static void main(String[] a) { System.out.println(Stream.of(\"a\", \"b\").map(String::toUpperCase).collect(Collectors.toList())); System.out.println(IntStream.range(0, 100).parallel().sum()); S s = new A(1); System.out.println(s instanceof A q ? q.x() : 0); System.out.println(\"\"\"\n  text\n    block\"\"\" + String.join(\",\", new TreeMap<>(Map.of(\"k\", 1)).keySet()) + Duration.ofMinutes(3)); } }"},
	{name: "virtual machine options", prints: "[", text: "public class Main { public static void main(String[] a) throws Exception { System.out.println(java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()); System.out.println(Runtime.getRuntime().maxMemory() >> 20); System.out.println(System.getSecurityManager()); System.out.println(Runtime.version()); } }"},
}
