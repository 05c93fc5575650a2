// Draws a terminal with WebGL where a graphics card does that; the DOM draws it where
// there is none, and again when the card takes the context away.
import type { Terminal } from '@xterm/xterm'

/** What draws where no graphics card does. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i

function hasGraphicsCard(): boolean {
  try {
    // WebGL that the processor works out is slower than the DOM. Not every browser says so when it is asked.
    const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true })
    if (context === null) return false
    const named = context.getExtension('WEBGL_debug_renderer_info')
    const renderer: unknown = context.getParameter(named?.UNMASKED_RENDERER_WEBGL ?? context.RENDERER)
    context.getExtension('WEBGL_lose_context')?.loseContext() // browsers allow but a few
    return !SOFTWARE.test(String(renderer))
  } catch {
    return false
  }
}

/** Resolves when it is known how the terminal is drawn; changed is told each time that this changes. */
export async function drawByWebGL(term: Terminal, gone: () => boolean, changed: (renderer: 'webgl' | 'dom') => void): Promise<void> {
  changed('dom')
  if (!hasGraphicsCard()) return
  // The DOM goes on drawing where the other cannot be had.
  const loaded = await import('@xterm/addon-webgl').catch(() => null)
  if (loaded === null || gone()) return
  const { WebglAddon } = loaded
  const addon = new WebglAddon()
  addon.onContextLoss(() => {
    addon.dispose()
    changed('dom')
  })
  try {
    term.loadAddon(addon)
    changed('webgl')
  } catch {
    addon.dispose()
  }
}
