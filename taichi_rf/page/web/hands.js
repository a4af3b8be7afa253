// Mouse, touch and wheel on the picture: one pointer turns, a second or another button moves and comes nearer.

const WHEEL = 1 / 900; // of a height for a pixel that the wheel scrolls

/**
 * @param canvas what is touched.
 * @param moved called with (kind, right, down): "turn" or "pan" in heights of the canvas, "zoom" (down) likewise.
 * @param held called with true when a hand takes hold, and false when it lets go.
 */
export function hands(canvas, moved, held) {
  const pointers = new Map();
  const between = () => {
    const [a, b] = [...pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, far: Math.hypot(a.x - b.x, a.y - b.y) };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pointers.size >= 2) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    held(true);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const height = canvas.clientHeight;
    const now = { x: event.clientX, y: event.clientY };
    if (pointers.size === 2) {
      const old = between();
      pointers.set(event.pointerId, now);
      const next = between();
      moved("pan", (next.x - old.x) / height, (next.y - old.y) / height);
      if (old.far > 0 && next.far > 0) moved("zoom", 0, Math.log(old.far / next.far) / Math.log(4));
      return;
    }
    pointers.set(event.pointerId, now);
    const pans = event.buttons & 6 || event.shiftKey || event.ctrlKey;
    moved(pans ? "pan" : "turn", (now.x - before.x) / height, (now.y - before.y) / height);
  });
  const gone = (event) => {
    if (pointers.delete(event.pointerId) && !pointers.size) held(false);
  };
  canvas.addEventListener("pointerup", gone);
  canvas.addEventListener("pointercancel", gone);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    moved("zoom", 0, Math.min(Math.max(event.deltaY * lines * WHEEL, -0.5), 0.5));
  }, { passive: false });
}
