// What runs first: the page's own code is in it deflated, and the page's policy names the checksum of what comes out.

import { unembedded } from "./digits.js";

const say = (text) => (document.getElementById("notice-text").textContent = text);

async function start() {
  if (typeof DecompressionStream !== "function") throw new Error("This page needs a newer browser: any of 2023 or later.");
  const bytes = unembedded(document.getElementById("code").textContent);
  if (!bytes) throw new Error("This page is damaged.");
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.type = "module";
  script.textContent = await new Response(inflated).text().catch(() => {
    throw new Error("This page is damaged.");
  });
  document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => {
    if (effectiveDirective.startsWith("script-src")) say("The code of this page is not what it was when it was written.");
  });
  document.body.append(script);
}

start().catch((error) => say(error.message));
