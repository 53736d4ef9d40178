// What eslint asks of what browsers run. `make lint-assets` runs it.

import js from '@eslint/js';
import globals from 'globals';

// Ways by which a text becomes code or markup. The pages' policies forbid them; here it is seen before.
const SINKS = [
  ['innerHTML', 'outerHTML', 'insertAdjacentHTML', 'srcdoc', 'cssText'].map((property) => ({
    property,
    message: 'Build nodes with el() of dom.js, and styles one by one.',
  })),
  ['write', 'writeln'].map((property) => ({
    object: 'document',
    property,
    message: 'Build nodes with el() of dom.js.',
  })),
].flat();

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: 'module' },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-console': ['error', { allow: ['error'] }],
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-new-func': 'error',
      'no-restricted-properties': ['error', ...SINKS],
      'no-unused-vars': 'error',
      'no-use-before-define': ['error', { functions: false, classes: false, variables: false }],
      'no-useless-rename': 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'prefer-template': 'error',
    },
  },
  { files: ['console/**'], languageOptions: { globals: globals.browser } },
  // Scripts without modules of the stage say these.
  {
    files: ['console/screen.js'],
    languageOptions: { globals: { makeSanitizer: 'readonly', rrwebReplay: 'readonly' } },
  },
  // Scripts without modules, each of which says a name to the others.
  {
    files: ['console/sanitize.js', 'export/**'],
    languageOptions: {
      sourceType: 'script',
      globals: { ...globals.browser, rrwebReplay: 'readonly', makeSanitizer: 'writable' },
    },
    rules: {
      'no-unused-vars': ['error', { varsIgnorePattern: '^makeSanitizer$' }],
      'no-redeclare': ['error', { builtinGlobals: false }],
    },
  },
  { files: ['*.mjs'], languageOptions: { globals: globals.node } },
  // The beginning and the end of one script.
  { ignores: ['recorder/**'] },
];
