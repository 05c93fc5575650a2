package corun.sample;

import java.util.*;
import java.util.function.*;
import java.util.stream.*;

/** A program of the kind that people write, which Launcher compiles before it is given a real one. */
public class Sample {
  interface Shape {
    double area();
  }

  record Circle(double radius) implements Shape {
    public double area() {
      return Math.PI * radius * radius;
    }
  }

  enum Level {
    LOW,
    HIGH;

    Level other() {
      return this == LOW ? HIGH : LOW;
    }
  }

  static class Stack<T> {
    private final Deque<T> items = new ArrayDeque<>();

    void push(T item) {
      items.push(item);
    }

    T pop() {
      if (items.isEmpty()) {
        throw new NoSuchElementException("empty");
      }
      return items.pop();
    }
  }

  static int fib(int n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
  }

  public static void main(String[] args) {
    Scanner in = new Scanner("Ada 1815\nGrace 1906\n");
    Map<String, Integer> born = new HashMap<>();
    while (in.hasNext()) {
      born.put(in.next(), in.nextInt());
    }
    StringBuilder text = new StringBuilder();
    for (Map.Entry<String, Integer> e : born.entrySet()) {
      text.append(e.getKey()).append(' ').append(e.getValue()).append('\n');
    }
    System.out.print(text);
    List<Integer> numbers = IntStream.rangeClosed(1, 10).boxed().collect(Collectors.toList());
    Function<Integer, Integer> square = x -> x * x;
    System.out.println(numbers.stream().filter(x -> x % 2 == 0).map(square).reduce(0, Integer::sum));
    System.out.printf("%s %d %.2f %5s|%n", "text", 42, new Circle(1).area(), Level.LOW.other());
    Stack<String> stack = new Stack<>();
    stack.push("a");
    try {
      stack.pop();
      stack.pop();
    } catch (NoSuchElementException e) {
      System.out.println("caught " + e.getMessage());
    } finally {
      System.out.println(fib(10));
    }
    int[][] grid = new int[3][4];
    for (int i = 0; i < grid.length; i++) {
      for (int j = 0; j < grid[i].length; j++) {
        grid[i][j] = i * j;
      }
    }
    System.out.println(Arrays.deepToString(grid));
    String kind = switch (numbers.size()) {
      case 10 -> "ten";
      default -> "other";
    };
    Object thing = new Circle(2);
    if (thing instanceof Circle c && c.radius() > 1) {
      System.out.println(kind + c);
    }
    // With a name: those that get numbers begin with the program's own.
    Thread worker = new Thread(() -> System.out.println("hello from a thread"), "worker");
    worker.start();
    try {
      worker.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
