import { defineConfig } from "vite";

// The bundle goes to where gotrace embeds it from. It must be the same wherever it is built.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    // A data: URL in a style would need a wider policy.
    assetsInlineLimit: 0,
  },
});
