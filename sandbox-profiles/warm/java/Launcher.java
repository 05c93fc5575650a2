import com.sun.tools.javac.api.JavacTaskPool;
import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.Writer;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.MalformedURLException;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * Compiles a program in memory and runs it, as {@code java Main.java} does, and with it the
 * classes of other files that it uses (as since JDK 22).
 *
 * <p>With the file as its first argument it does so at once. With {@link #WAIT} in front it is
 * started ahead: it compiles and runs some programs of its own, so that the compiler is loaded
 * and fast, and waits on descriptor 255 for the file and the arguments.
 */
public final class Launcher {
  private static final String WAIT = "--wait";
  private static final int SOCKET = 255;

  /** How many programs of its own make the compiler fast; more gain little. */
  private static final int WARM_UPS = 12;

  private static final JavaCompiler COMPILER = ToolProvider.getSystemJavaCompiler();

  private static final Pattern PACKAGE =
      Pattern.compile("^\\s*package\\s+([\\w.]+)\\s*;", Pattern.MULTILINE);

  private Launcher() {}

  public static void main(String[] args) throws Throwable {
    List<String> command = List.of(args);
    ReadyCompiler ready = null;
    if (command.get(0).equals(WAIT)) {
      ready = new ReadyCompiler(Path.of("").toAbsolutePath());
      warmUp(ready);
      command = await();
    } else if (command.get(0).equals("--train")) {
      warmUp(new ReadyCompiler(Path.of("").toAbsolutePath())); // for an archive of the classes that this loads
      return;
    }
    Path entry = Path.of(command.get(0));
    Path root = rootOf(entry);
    Classes classes = ready == null ? null : ready.compile(entry, root);
    ready = null; // nothing of it is to be in the program's memory
    if (classes == null) {
      classes = compile(entry, root, new PrintWriter(System.err, true));
    }
    Class<?> program = classes == null ? null : new Loader(classes.code, root).mainClass(entry, classes.ofEntry);
    classes = null;
    if (program == null) {
      System.exit(1);
    }
    Thread.currentThread().setContextClassLoader(program.getClassLoader());
    Program main = program(mainOf(program), command.subList(1, command.size()).toArray(new String[0]));
    // What is left of this thread is as the JVM's own, which waits for all others to end. Its
    // exit code is then 1 if the program's main has thrown something.
    Thread own = Thread.currentThread();
    own.setName("DestroyJavaVM");
    own.setUncaughtExceptionHandler((thread, failure) -> {});
    main.start();
    main.join();
    if (main.failed()) {
      throw new IllegalStateException();
    }
  }

  /** Waits until there is a program. */
  private static List<String> await() throws Throwable {
    FileDescriptor socket = new FileDescriptor();
    Field number = FileDescriptor.class.getDeclaredField("fd");
    number.setAccessible(true);
    number.setInt(socket, SOCKET);
    ByteArrayOutputStream message = new ByteArrayOutputStream();
    try (FileOutputStream out = new FileOutputStream(socket);
        FileInputStream in = new FileInputStream(socket)) {
      out.write('r');
      byte[] part = new byte[1 << 16];
      for (int n; (n = in.read(part)) > 0; ) { // readAllBytes would ask for the place in a file
        message.write(part, 0, n);
      }
    }
    if (message.size() == 0) {
      Runtime.getRuntime().halt(0); // no program will come
    }
    String all = message.toString(StandardCharsets.UTF_8);
    return List.of(all.substring(0, all.length() - 1).split("\0", -1));
  }

  /** The folder in which the packages of a program begin. */
  private static Path rootOf(Path entry) {
    Path folder = entry.toAbsolutePath().getParent();
    try {
      Matcher declared = PACKAGE.matcher(Files.readString(entry, StandardCharsets.ISO_8859_1));
      if (declared.find()) {
        Path within = Path.of(declared.group(1).replace('.', '/'));
        if (folder.endsWith(within)) {
          for (int i = 0; i < within.getNameCount(); i++) {
            folder = folder.getParent();
          }
        }
      }
    } catch (IOException e) {
      // The compiler will say so.
    }
    return folder;
  }

  /** Compiles a program, or gives null when the compiler has said why not. */
  private static Classes compile(Path entry, Path root, Writer messages) throws IOException {
    try (StandardJavaFileManager files =
        COMPILER.getStandardFileManager(null, null, StandardCharsets.UTF_8)) {
      Classes classes = new Classes(files);
      classes.begin(entry);
      boolean good =
          COMPILER
              .getTask(messages, classes, null, options(root), null, files.getJavaFileObjects(entry))
              .call();
      return good ? classes : null;
    }
  }

  private static List<String> options(Path root) {
    return List.of("-proc:none", "-implicit:class", "-sourcepath", root.toString(), "-cp", root.toString());
  }

  /**
   * Compiles as {@link Launcher#compile} does, but keeps what it has learnt of the JDK's classes for
   * the next program: to learn it again is most of the time. It is for the plain case, a program of
   * one file of which there is nothing to be said; all else is left to that.
   */
  private static final class ReadyCompiler {
    private final Path root;
    private final StandardJavaFileManager files =
        COMPILER.getStandardFileManager(null, null, StandardCharsets.UTF_8);
    private final Classes classes = new Classes(files);
    private final JavacTaskPool tasks = new JavacTaskPool(1);
    private boolean spoken;

    ReadyCompiler(Path root) {
      this.root = root;
    }

    /** Compiles the last program, or gives null where it has not. */
    Classes compile(Path entry, Path root) throws IOException {
      try (files) {
        return root.equals(this.root) && alone(root) ? compile(entry) : null;
      }
    }

    Classes compile(Path entry) throws IOException {
      classes.begin(entry);
      spoken = false;
      try {
        boolean good =
            tasks.getTask(
                Writer.nullWriter(), classes, said -> spoken = true, options(root), null, files.getJavaFileObjects(entry), task -> task.call());
        return good && !spoken ? classes : null;
      } catch (RuntimeException | Error e) {
        return null; // a fresh compiler will say so, if it is not of this one alone
      }
    }

    /** Tells whether no other file below a folder can have a part in a program. */
    private static boolean alone(Path root) throws IOException {
      try (Stream<Path> all = Files.walk(root)) {
        return all.map(Path::toString).filter(file -> file.endsWith(".java") || file.endsWith(".class")).limit(2).count() == 1;
      }
    }
  }

  /** Keeps what the compiler makes in memory. */
  private static final class Classes extends ForwardingJavaFileManager<JavaFileManager> {
    Map<String, Code> code;
    List<String> ofEntry;
    private String entry;

    Classes(JavaFileManager files) {
      super(files);
    }

    /** Begins with another program. */
    void begin(Path entry) {
      code = new HashMap<>();
      ofEntry = new ArrayList<>();
      this.entry = entry.toAbsolutePath().normalize().toString();
    }

    @Override
    public JavaFileObject getJavaFileForOutput(
        Location location, String name, JavaFileObject.Kind kind, FileObject source) {
      Code made = new Code(name);
      code.put(name, made);
      if (source != null && Path.of(source.toUri()).normalize().toString().equals(entry)) {
        ofEntry.add(name);
      }
      return made;
    }
  }

  private static final class Code extends SimpleJavaFileObject {
    final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    Code(String name) {
      super(URI.create("memory:///" + name.replace('.', '/') + ".class"), Kind.CLASS);
    }

    @Override
    public OutputStream openOutputStream() {
      return bytes;
    }
  }

  /** Has the program's classes; files beside them are found as resources. */
  private static final class Loader extends URLClassLoader {
    private final Map<String, Code> code;

    Loader(Map<String, Code> code, Path root) throws MalformedURLException {
      // Without a name: it would be in front of every line of a stack trace.
      super(new URL[] {root.toUri().toURL()}, ClassLoader.getPlatformClassLoader());
      this.code = code;
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
      Code made = code.get(name);
      if (made == null) {
        return super.findClass(name);
      }
      byte[] bytes = made.bytes.toByteArray();
      return defineClass(name, bytes, 0, bytes.length);
    }

    @Override
    public InputStream getResourceAsStream(String name) {
      Code made = name.endsWith(".class") ? code.get(name.substring(0, name.length() - 6).replace('/', '.')) : null;
      return made == null ? super.getResourceAsStream(name) : new java.io.ByteArrayInputStream(made.bytes.toByteArray());
    }

    /** The class named as the file is, if it can be run, or the first in it that can. */
    Class<?> mainClass(Path entry, List<String> names) {
      String usual = entry.getFileName().toString().replaceFirst("\\.java$", "");
      Class<?> first = null;
      for (String name : names) {
        Class<?> candidate;
        try {
          candidate = loadClass(name);
        } catch (ClassNotFoundException | LinkageError e) {
          continue; // whoever uses it will be told
        }
        if (mainOf(candidate) == null) {
          continue;
        }
        if (candidate.getSimpleName().equals(usual)) {
          return candidate;
        }
        if (first == null) {
          first = candidate;
        }
      }
      if (first == null) {
        System.err.println("error: no class in " + entry + " has a method public static void main(String[])");
      }
      return first;
    }
  }

  private static Method mainOf(Class<?> of) {
    try {
      Method main = of.getDeclaredMethod("main", String[].class);
      int modifiers = main.getModifiers();
      boolean right = Modifier.isStatic(modifiers) && Modifier.isPublic(modifiers) && main.getReturnType() == void.class;
      return right ? main : null;
    } catch (NoSuchMethodException | LinkageError e) {
      return null;
    }
  }

  /** A thread that runs a program. */
  public abstract static class Program extends Thread {
    protected Program() {
      super(Thread.currentThread().getThreadGroup(), "main");
    }

    protected abstract boolean failed();
  }

  /** Becomes a hidden class, whose methods are in no stack trace: the program's main is the first. */
  public static final class Hidden extends Program {
    private final MethodHandle main;
    private final String[] args;
    private volatile boolean failed;

    public Hidden(MethodHandle main, String[] args) {
      this.main = main;
      this.args = args;
    }

    @Override
    public void run() {
      try {
        main.invokeExact(args);
      } catch (Throwable failure) {
        failed = true;
        throw Launcher.<RuntimeException>asItIs(failure);
      }
    }

    @Override
    protected boolean failed() {
      return failed;
    }
  }

  @SuppressWarnings("unchecked")
  static <T extends Throwable> T asItIs(Throwable failure) throws T {
    throw (T) failure;
  }

  private static Program program(Method main, String[] args) throws Throwable {
    main.setAccessible(true); // its class need not be public
    byte[] code;
    try (InputStream in = Launcher.class.getResourceAsStream("Launcher$Hidden.class")) {
      code = in.readAllBytes();
    }
    return (Program)
        MethodHandles.lookup()
            .defineHiddenClass(code, true)
            .lookupClass()
            .getConstructor(MethodHandle.class, String[].class)
            .newInstance(MethodHandles.lookup().unreflect(main), args);
  }

  /** Compiles and runs programs as people write them, and shows nobody what they print. */
  private static void warmUp(ReadyCompiler ready) throws Throwable {
    PrintStream out = System.out;
    Path here = Path.of(Launcher.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    Path sample = here.resolveSibling("Sample.java");
    try {
      System.setOut(new PrintStream(OutputStream.nullOutputStream(), true));
      for (int i = 0; i < WARM_UPS; i++) {
        boolean plain = i % 4 == 1; // the other way is to be fast, too
        ReadyCompiler.alone(sample.getParent()); // as all that comes when there is a program
        rootOf(sample);
        Classes classes =
            plain ? compile(sample, sample.getParent(), new PrintWriter(System.err, true)) : ready.compile(sample);
        Class<?> program = new Loader(classes.code, sample.getParent()).mainClass(sample, classes.ofEntry);
        Program main = program(mainOf(program), new String[0]);
        main.start();
        main.join();
      }
    } finally {
      System.setOut(out);
    }
  }
}
