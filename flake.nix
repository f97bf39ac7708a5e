{
  description = "berth: a declarative reconciler of bridges, NAT and containers";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      each = f: builtins.listToAttrs (map (system: { name = system; value = f nixpkgs.legacyPackages.${system}; }) systems);
    in {
      packages = each (pkgs: { default = pkgs.callPackage ./cmd/nix/package.nix { }; });
      nixosModules.default = ./cmd/nix/module.nix;
    };
}
