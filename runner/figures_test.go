package runner

import (
	"bytes"
	"image/png"
	"slices"
	"testing"

	"corun/store"
)

// What a program shows comes back as pictures, a figure each.
func TestFigures(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Languages = []string{"python"} })
	needs(t, r, "python")
	if r.image.Usr != "" {
		t.Skip("this image has no matplotlib of ours")
	}
	for _, mode := range []string{ModePipes, ModeTerminal} {
		req := program("python", `
import os
import numpy, pandas
import matplotlib.pyplot as plt
plt.plot([1, 2, 3]); plt.title("ü")
plt.figure(); plt.bar([1, 2], [3, 4])
plt.show()
print(plt.get_fignums())
pandas.Series(numpy.arange(3)).plot()
plt.show()
figure, axes = plt.subplots()
for x in range(3):
    axes.plot([x, 1]); plt.pause(0.001)
print(sorted(os.listdir("out")))
`)
		req.Mode = mode
		rec := start(t, r, req)
		run := rec.end()
		stream, end := store.Stdout, "\n"
		if mode == ModeTerminal {
			stream, end = store.PTY, "\r\n"
		}
		want := "[]" + end + "['figure-1.png', 'figure-2.png', 'figure-3.png', 'figure-4.png']" + end
		if got := rec.output(stream); got != want || rec.output(store.Stderr) != "" {
			t.Errorf("%s: got %q, %q; %s", mode, got, rec.output(store.Stderr), run.Message)
		}
		var paths []string
		for _, a := range run.Artefacts {
			paths = append(paths, a.Path)
			data, err := r.store.Artefact(t.Context(), run.Room, run.Number, a.Path)
			check(t, err)
			if _, err := png.Decode(bytes.NewReader(data)); err != nil {
				t.Errorf("%s is no picture: %v", a.Path, err)
			}
		}
		if !slices.Equal(paths, []string{"figure-1.png", "figure-2.png", "figure-3.png", "figure-4.png"}) {
			t.Errorf("%s: artefacts %v", mode, paths)
		}
		t.Logf("CPU %v ms, %d MiB", run.Usage.CPUMS, run.Usage.MemoryPeakBytes>>20)
	}
}
